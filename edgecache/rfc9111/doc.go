// Package rfc9111 is the policy of a shared HTTP cache: it decides what may be
// stored, how long it is fresh, when it may be reused and what a validation
// changes. It does no I/O, reads no clock and keeps no state: the request, the
// response, the operator's options and the time are arguments.
//
// It implements RFC 9111 (caching), sections 8.8 and 13 of RFC 9110
// (validators, preconditions), RFC 5861 (stale-while-revalidate and
// stale-if-error), RFC 8246 (immutable), RFC 9213 (targeted cache control) and
// the parsing part of RFC 9875 (cache groups).
//
// Where a message is ambiguous or malformed the outcome is always the more
// cautious one: restricting directives are recognised in every form, permitting
// ones only when they are well-formed, and of contradicting values the shorter
// freshness counts.
package rfc9111
