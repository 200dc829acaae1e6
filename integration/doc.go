// Package integration tests the real binary from outside: it starts processes,
// speaks to them over the network, and imports none of the feature packages.
package integration
