// Package crs runs the OWASP Core Rule Set, and rules in its language, on the engine
// Coraza. It knows nothing of Caddy: requests and responses come in as values, with what
// the caller has read of their content, and a verdict comes out.
//
// Coraza decides. What this package adds is the configuration of the rules by options,
// exceptions that hold for single requests, rule sets that are shared as long as their
// content is the same, errors that name file and line, and the operator @rx.
package crs
