// Package wire is what edge and agent say to each other: the upgrade that begins a
// session, what stands in front of each request, the answer to it, and the messages of
// the session. docs/tunnel.md has it in full.
package wire
