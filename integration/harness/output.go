package harness

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Entry is one line of output: the fields of a JSON log line, or for any other
// line the field "text".
type Entry map[string]any

// output collects what a process writes to its standard streams.
type output struct {
	mu      sync.Mutex // guards everything below
	partial []byte
	lines   []string
	changed chan struct{} // closed and renewed at each new line
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

// Write takes output in pieces of any size. It never fails.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, p...)
	for {
		line, rest, found := bytes.Cut(o.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		o.lines = append(o.lines, string(line))
		o.partial = rest
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// since returns the lines from index n on, and a channel that is closed when
// there are more.
func (o *output) since(n int) ([]string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines[n:len(o.lines):len(o.lines)], o.changed
}

// await returns the first line that satisfies match, waiting for it up to limit
// or until gone is closed.
func (o *output) await(match func(Entry) bool, limit time.Duration, gone <-chan struct{}) (Entry, bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for seen := 0; ; {
		lines, changed := o.since(seen)
		seen += len(lines)
		for _, line := range lines {
			if entry := parseEntry(line); match(entry) {
				return entry, true
			}
		}
		select {
		case <-changed:
		case <-gone:
			return nil, false
		case <-timer.C:
			return nil, false
		}
	}
}

func parseEntry(line string) Entry {
	entry := make(Entry)
	if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &entry) == nil {
		return entry
	}
	return Entry{"text": line}
}

// fault matches what no correct server prints: the race detector's report, a
// crash of the process, a panic that net/http caught.
var fault = regexp.MustCompile(`WARNING: DATA RACE|^panic: |^fatal error: |panic serving|runtime error: `)

// faultContext is how many lines after a fault are shown.
const faultContext = 150

// findFault returns the first fault in the output with the lines after it, or "".
func findFault(lines []string) string {
	for i, line := range lines {
		if fault.MatchString(line) {
			return strings.Join(lines[i:min(len(lines), i+faultContext)], "\n")
		}
	}
	return ""
}
