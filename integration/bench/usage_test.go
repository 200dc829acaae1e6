package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCPUClock(t *testing.T) {
	before, err := ownTime()
	require.NoError(t, err)
	clock, err := cpuClock(os.Getpid())
	require.NoError(t, err)
	after, err := ownTime()
	require.NoError(t, err)
	const rounding = 20 * time.Millisecond // of ownTime
	require.GreaterOrEqual(t, clock, before-rounding)
	require.LessOrEqual(t, clock, after+rounding)

	cmd := exec.CommandContext(t.Context(), "sh", "-c", "read -r _; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo; read -r _")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	idle, err := cpuClock(cmd.Process.Pid)
	require.NoError(t, err)
	_, err = io.WriteString(in, "\n")
	require.NoError(t, err)
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	busy, err := cpuClock(cmd.Process.Pid)
	require.NoError(t, err)
	require.Greater(t, busy, idle)
	require.NoError(t, in.Close())
	_ = cmd.Wait() // read at the end of input fails
	_, err = cpuClock(cmd.Process.Pid)
	require.Error(t, err)
}

func TestParseKilobytes(t *testing.T) {
	const text = "VmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\nThreads:\t7\n"
	n, err := parseKilobytes(text, "VmRSS")
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, n)
	_, err = parseKilobytes(text, "Pss")
	require.ErrorContains(t, err, "no Pss")
	_, err = parseKilobytes("Pss: many kB\n", "Pss")
	require.ErrorContains(t, err, "parsing Pss")
}

func FuzzParseKilobytes(f *testing.F) {
	f.Add("VmHWM:\t1 kB\n", uint32(7))
	f.Fuzz(func(t *testing.T, before string, n uint32) {
		if strings.Contains(before, "Pss:") {
			return
		}
		got, err := parseKilobytes(fmt.Sprintf("%s\nPss:   %d kB\n", before, n), "Pss")
		require.NoError(t, err)
		require.Equal(t, int64(n)<<10, got)
	})
}

func TestUsedSince(t *testing.T) {
	start := time.Unix(100, 0)
	before := used{at: start, own: time.Second, edge: 3 * time.Second}
	own, edge := used{at: start.Add(10 * time.Second), own: 6 * time.Second, edge: 18 * time.Second}.since(before)
	require.InDelta(t, 0.5, own, 1e-9)
	require.InDelta(t, 1.5, edge, 1e-9)
}

func TestOwnTime(t *testing.T) {
	first, err := ownTime()
	require.NoError(t, err)
	again, err := ownTime()
	require.NoError(t, err)
	require.Positive(t, first)
	require.GreaterOrEqual(t, again, first)
}
