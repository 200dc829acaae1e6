package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what a process takes of the machine, in bytes.
type Memory struct {
	// Resident is what it has now, Peak the most that it had since the start or the
	// last ResetPeak.
	Resident, Peak int64
}

// Memory reads the memory of the process. It fails the test where there is no /proc.
func (e *Edge) Memory() Memory {
	e.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.cmd.Process.Pid))
	if err != nil {
		e.t.Fatalf("reading the memory of the edge: %v", err)
	}
	m, err := parseMemory(string(text))
	if err != nil {
		e.t.Fatal(err)
	}
	return m
}

// ResetPeak has Memory.Peak begin with what the process has now.
func (e *Edge) ResetPeak() {
	e.t.Helper()
	const peak = "5" // see proc_pid_clear_refs(5)
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", e.cmd.Process.Pid), []byte(peak), 0); err != nil {
		e.t.Fatalf("resetting the peak of the memory of the edge: %v", err)
	}
}

// parseMemory reads the text of /proc/PID/status.
func parseMemory(text string) (m Memory, err error) {
	for _, f := range []struct {
		name  string
		value *int64
	}{{"VmRSS", &m.Resident}, {"VmHWM", &m.Peak}} {
		_, rest, ok := strings.Cut("\n"+text, "\n"+f.name+":")
		line, _, _ := strings.Cut(rest, "\n")
		kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
		if !ok || err != nil {
			return m, fmt.Errorf("no %s in /proc/PID/status", f.name)
		}
		*f.value = kilobytes << 10
	}
	return m, nil
}
