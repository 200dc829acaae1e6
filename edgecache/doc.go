// Package edgecache is the shared HTTP cache of caddy-edge: the Caddy handler
// edge_cache.
//
// The handler stands in front of whatever produces the response, usually
// reverse_proxy. For each GET or HEAD request it builds a key, looks the key up
// in the memory tier, and lets the pure policy in package rfc9111 decide: serve
// the stored response, serve it stale and refresh it, validate it, or fetch.
// Fetches for one key are collapsed into a flight, which streams: every waiting
// client gets the origin's bytes as they arrive.
//
// The rule behind the key is that what is not in the key does not reach the
// origin, so that no client can poison the response of another through it. Fields
// that origins are expected to name in Vary, and those that no origin is known to
// act upon, are the exception; allow_headers closes it.
package edgecache
