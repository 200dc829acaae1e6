package redistest

import (
	"strings"
	"testing"
)

// Redis is a [Server] whose errors fail the test. Its methods belong to the
// goroutine of the test.
type Redis struct {
	t      testing.TB
	server *Server
}

// New returns a server that does not run yet; args are options in addition. The
// end of the test kills it.
func New(t testing.TB, args ...string) *Redis {
	t.Helper()
	server, err := NewServer(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	r := &Redis{t: t, server: server}
	t.Cleanup(r.Kill)
	return r
}

// Run returns a server that runs, see [New].
func Run(t testing.TB, args ...string) *Redis {
	t.Helper()
	r := New(t, args...)
	r.Start()
	return r
}

// Addr returns host and port.
func (r *Redis) Addr() string { return r.server.Addr() }

// Start runs the server, see [Server.Start].
func (r *Redis) Start() {
	r.t.Helper()
	if err := r.server.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// Kill ends the server, see [Server.Kill].
func (r *Redis) Kill() {
	r.t.Helper()
	if err := r.server.Kill(); err != nil {
		r.t.Fatal(err)
	}
}

// Ask sends a command and returns its reply, see [Server.Ask].
func (r *Redis) Ask(words ...string) []string {
	r.t.Helper()
	reply, err := r.server.Ask(words...)
	if err != nil {
		r.t.Fatalf("%s: %v", strings.Join(words, " "), err)
	}
	return reply
}
