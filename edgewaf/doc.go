// Package edgewaf has the handler edge_guard, which looks at the form of requests, at
// where they come from and where they are sent, before anybody else does.
package edgewaf
