package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the processor time that a process and its descendants have
// used, in user and system mode, to the nanosecond.
func (p *process) cpuTime() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.tree() {
		used, err := cpuClock(pid)
		if err != nil {
			return 0, fmt.Errorf("reading processor time of %s: %w", p.name, err)
		}
		sum += used
	}
	return sum, nil
}

// cpuClock reads the clock of a process's processor time, those of its threads
// that have ended included. Its number is made as clock_getcpuclockid(3) does on
// Linux: /proc/PID/stat has the same times in hundredths of a second.
func cpuClock(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil { //nolint:gosec // ids of processes have 22 bits
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

// ownTime returns the processor time that the benchmarks themselves have used.
func ownTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("reading our own processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// used is the processor time that was used up to a moment.
type used struct {
	at        time.Time
	own, edge time.Duration
}

// usedTime returns the processor time that the benchmarks and a process have used.
func (p *process) usedTime() (u used, err error) {
	if u.own, err = ownTime(); err != nil {
		return u, err
	}
	u.edge, err = p.cpuTime()
	u.at = time.Now()
	return u, err
}

// since returns how many processors were busy on average.
func (u used) since(before used) (own, edge float64) {
	took := u.at.Sub(before.at)
	return float64(u.own-before.own) / float64(took), float64(u.edge-before.edge) / float64(took)
}

// memory is what a process takes of the machine, in bytes.
type memory struct {
	resident   int64 // RSS
	peak       int64 // greatest RSS so far
	proportion int64 // PSS
}

// memory reads the memory of the process itself.
func (p *process) memory() (m memory, err error) {
	pid := p.cmd.Process.Pid
	for _, f := range []struct {
		file, field string
		value       *int64
	}{
		{"status", "VmRSS", &m.resident}, {"status", "VmHWM", &m.peak}, {"smaps_rollup", "Pss", &m.proportion},
	} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, f.file))
		if err != nil {
			return m, fmt.Errorf("reading memory of %s: %w", p.name, err)
		}
		if *f.value, err = parseKilobytes(string(text), f.field); err != nil {
			return m, err
		}
	}
	return m, nil
}

// parseKilobytes returns the bytes in a line "Name:   123 kB".
func parseKilobytes(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parsing %s: %w", name, err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("no %s in /proc", name)
}
