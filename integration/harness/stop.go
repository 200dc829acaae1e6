package harness

import (
	"strings"
	"syscall"
	"time"
)

// Stop ends the process by SIGTERM, as the end of the test does, and fails the
// test on leftover goroutines, a forced end, an exit code but 0, a data race or a
// panic. Only the first call does anything.
func (e *Edge) Stop() {
	e.t.Helper()
	e.stop.Do(func() {
		e.t.Helper()
		e.closeClients()
		e.checkLeftover()
		e.terminate()
		lines, _ := e.out.since(0)
		if found := findFault(lines); found != "" {
			e.t.Errorf("the edge printed a fault:\n%s", found)
		}
		if e.t.Failed() {
			e.t.Logf("output of the edge:\n%s", e.lastLines())
		}
	})
}

func (e *Edge) closeClients() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, client := range e.clients {
		client.CloseIdleConnections()
	}
}

func (e *Edge) checkLeftover() {
	e.t.Helper()
	if e.base == nil || e.hasEnded() {
		return
	}
	rest, err := e.admin.leftover(e.base, leftoverLimit)
	switch {
	case err != nil:
		e.t.Error(err)
	case rest != "":
		e.t.Errorf("the edge has goroutines left over:\n%s", rest)
	}
}

func (e *Edge) terminate() {
	e.t.Helper()
	if e.hasEnded() {
		e.t.Errorf("the edge ended by itself: %s", e.cmd.ProcessState)
		return
	}
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		e.t.Errorf("signalling the edge: %v", err)
	}
	select {
	case <-e.gone:
	case <-time.After(stopLimit):
		e.t.Errorf("the edge did not stop within %s", stopLimit)
		_ = e.cmd.Process.Kill()
		<-e.gone
		return
	}
	if code := e.cmd.ProcessState.ExitCode(); code != 0 {
		e.t.Errorf("the edge ended with %s", e.cmd.ProcessState)
	}
}

func (e *Edge) hasEnded() bool {
	select {
	case <-e.gone:
		return true
	default:
		return false
	}
}

// lastLines returns the end of the output without the harness's own questions.
func (e *Edge) lastLines() string {
	lines, _ := e.out.since(0)
	shown := make([]string, 0, len(lines))
	for _, line := range lines {
		if !strings.Contains(line, profilePath) {
			shown = append(shown, line)
		}
	}
	return strings.Join(shown[max(0, len(shown)-shownLines):], "\n")
}
