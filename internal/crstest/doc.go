// Package crstest has the regression tests of the OWASP Core Rule Set, as its authors
// publish them beside the rules, in the form of requests as they go over the wire and of
// what is expected of each. It is for tests.
package crstest
