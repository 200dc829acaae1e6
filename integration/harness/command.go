package harness

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Command is the binary, running with other arguments than those of an edge.
type Command struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *output
	gone chan struct{}
	stop sync.Once
}

// StartCommand runs the binary with arguments until the test ends, which stops it by
// SIGTERM, and fails when it prints a data race or a panic.
func StartCommand(t testing.TB, args ...string) *Command {
	t.Helper()
	c := &Command{t: t, cmd: exec.Command(Binary(t), args...), out: newOutput(), gone: make(chan struct{})}
	c.cmd.Env = environment(t.TempDir(), "")
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", strings.Join(args, " "), err)
	}
	go func() {
		defer close(c.gone)
		_ = c.cmd.Wait() // the exit code is read from ProcessState
	}()
	t.Cleanup(func() { c.Stop() })
	return c
}

// Signal sends a signal.
func (c *Command) Signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Errorf("signalling %s: %v", c.cmd, err)
	}
}

// Kill ends the process at once.
func (c *Command) Kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.gone
	c.stop.Do(c.check)
}

// Stop ends the process by SIGTERM and returns its exit code. A later call does
// nothing but that.
func (c *Command) Stop() int {
	c.t.Helper()
	c.stop.Do(func() {
		_ = c.cmd.Process.Signal(syscall.SIGCONT) // it may be stopped, or have ended
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.gone:
		case <-time.After(stopLimit):
			c.t.Errorf("%s did not stop within %s", c.cmd, stopLimit)
			_ = c.cmd.Process.Kill()
			<-c.gone
		}
		c.check()
	})
	return c.cmd.ProcessState.ExitCode()
}

func (c *Command) check() {
	lines, _ := c.out.since(0)
	if found := findFault(lines); found != "" {
		c.t.Errorf("%s printed a fault:\n%s", c.cmd, found)
	}
	if c.t.Failed() {
		c.t.Logf("output of %s:\n%s", c.cmd, strings.Join(lines[max(0, len(lines)-shownLines):], "\n"))
	}
}

// WaitLog waits for a line of the output that satisfies match.
func (c *Command) WaitLog(match func(Entry) bool) Entry {
	c.t.Helper()
	entry, ok := c.out.await(match, startLimit, c.gone)
	if !ok {
		c.t.Fatalf("%s did not print what was waited for", c.cmd)
	}
	return entry
}
