package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The times that a server gets to start and to end.
const (
	startLimit = 30 * time.Second
	stopLimit  = 10 * time.Second
	pollPause  = 20 * time.Millisecond
)

// process is a server that the benchmarks started.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// startProcess starts a command whose output goes to a file in dir.
func startProcess(name, dir string, env []string, command ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()               // the child has its own descriptor
	p.cmd = exec.Command(command[0], command[1:]...) //nolint:gosec // started by name or from our own build
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended does not matter: it was told to
	}()
	return p, nil
}

// await returns when the process accepts connections at all addresses.
func (p *process) await(ctx context.Context, addrs ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, addr := range addrs {
		for !accepts(ctx, addr) {
			select {
			case <-time.After(pollPause):
			case <-p.done:
				return p.failure(errors.New("it ended"))
			case <-ctx.Done():
				return p.failure(ctx.Err())
			}
		}
	}
	return nil
}

func accepts(ctx context.Context, addr string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// failure adds the end of the output to an error.
func (p *process) failure(err error) error {
	const most = 2000
	out, _ := os.ReadFile(p.log)
	return fmt.Errorf("starting %s: %w\n%s", p.name, err, out[max(0, len(out)-most):])
}

// stop ends the process, by force when it does not want to.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		p.kill()
	}
}

// signal sends a signal to the process itself.
func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("sending %s to %s: %w", s, p.name, err)
	}
	return nil
}

// kill ends the process at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// tree returns the ids of the process and of all its descendants.
func (p *process) tree() []int { return appendTree(nil, p.cmd.Process.Pid) }

func appendTree(pids []int, pid int) []int {
	pids = append(pids, pid)
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = appendTree(pids, child)
			}
		}
	}
	return pids
}

// freeAddrs returns n loopback addresses that nobody listens on.
func freeAddrs(n int) ([]string, error) {
	addrs := make([]string, 0, n)
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all are held until the last is known
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
