// Package redistest runs a real Redis or Valkey server for tests and benchmarks:
// one process on a loopback port of its own that keeps nothing when it ends. It
// can be killed and started again at the same address.
//
// [Server] returns errors; [Redis] is the same for tests, which it fails.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	startLimit  = 30 * time.Second
	pollPause   = 10 * time.Millisecond
	answerLimit = 20 * time.Second
)

// The programs looked for, the first one first. Both understand the same options.
var programs = []string{"redis-server", "valkey-server"}

// Server is a server without persistence. Its methods belong to one goroutine at
// a time, except [Server.Addr] and [Server.Ask].
type Server struct {
	program string
	addr    string
	dir     string
	args    []string
	running *running // nil when killed or not yet started
}

// running is the process of a [Server].
type running struct {
	process *os.Process
	ended   chan struct{}
}

// NewServer returns a server that does not run yet, at a free address that stays
// its own. dir exists and takes its files; args are options in addition. The
// error says that there is no program for it, or no port.
func NewServer(dir string, args ...string) (*Server, error) {
	program, err := findProgram()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	args = append([]string{"--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", dir}, args...)
	return &Server{program: program, addr: addr, dir: dir, args: args}, nil
}

func findProgram() (string, error) {
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("neither redis-server nor valkey-server is on PATH: install the package redis-server or valkey-server")
}

// Addr returns host and port.
func (s *Server) Addr() string { return s.addr }

// Start runs the server, again after [Server.Kill], and returns when it answers;
// that it wants a password is an answer. A server that ends at once is an error,
// with its output. A running one must not be started.
func (s *Server) Start(ctx context.Context) error {
	if s.running != nil {
		return errors.New("the server runs already")
	}
	output, err := os.Create(s.outputPath())
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()     // the child has its own descriptor
	cmd := exec.Command(s.program, s.args...) //nolint:gosec // one of two names, and the options of a test
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, output, output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.program, err)
	}
	s.running = &running{process: cmd.Process, ended: make(chan struct{})}
	go func(ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // how it ended does not matter: it was killed, or says it in its output
	}(s.running.ended)
	if err := s.await(ctx); err != nil {
		const most = 2000
		text, _ := os.ReadFile(s.outputPath())
		return errors.Join(fmt.Errorf("starting %s: %w\n%s", s.program, err, text[max(0, len(text)-most):]), s.Kill())
	}
	return nil
}

func (s *Server) outputPath() string { return filepath.Join(s.dir, "output.log") }

// await returns when the server answers.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	ticker := time.NewTicker(pollPause)
	defer ticker.Stop()
	var err error
	for ctx.Err() == nil {
		_, err = s.Ask("PING")
		if refusal := ReplyError(""); err == nil || errors.As(err, &refusal) && refusal.wantsPassword() {
			return nil
		}
		select {
		case <-ticker.C:
		case <-s.running.ended:
			return errors.New("it ended")
		case <-ctx.Done():
		}
	}
	return errors.Join(ctx.Err(), err)
}

// Kill ends the server at once, as a crash would, and returns when it is gone.
// Without a running server it does nothing.
func (s *Server) Kill() error {
	r := s.running
	if r == nil {
		return nil
	}
	s.running = nil
	if err := r.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing the server: %w", err)
	}
	<-r.ended
	return nil
}
