package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// testWire passes pieces, one each interval, and returns when each arrived at the other
// end, and how the wire ended.
func testWire(t *testing.T, w wire, pieces []string, interval time.Duration) (arrivals []time.Duration, got string) {
	t.Helper()
	in, src := net.Pipe()
	dst, out := net.Pipe()
	passed := make(chan error, 1)
	go func() {
		passed <- w.pass(dst, src)
		_ = dst.Close()
	}()
	start := time.Now()
	go func() {
		for _, p := range pieces {
			_, _ = io.WriteString(in, p)
			time.Sleep(interval)
		}
		_ = in.Close()
	}()
	buf := make([]byte, 2*pieceSize)
	for {
		n, err := out.Read(buf)
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
		arrivals, got = append(arrivals, time.Since(start)), got+string(buf[:n])
	}
	require.NoError(t, <-passed)
	return arrivals, got
}

// TestWireDelays: each piece comes later, and none waits for another one.
func TestWireDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrivals, got := testWire(t, wire{delay: 20 * time.Millisecond, queue: 1 << 20}, []string{"a", "b", "c"}, time.Millisecond)
		require.Equal(t, []time.Duration{20 * time.Millisecond, 21 * time.Millisecond, 22 * time.Millisecond}, arrivals)
		require.Equal(t, "abc", got)
	})
}

// TestWireRate: bytes take their time, one after the other, and the delay comes on top.
func TestWireRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kb := strings.Repeat("x", 1000)
		arrivals, _ := testWire(t, wire{delay: 5 * time.Millisecond, rate: 1e6, queue: 1 << 20}, []string{kb, kb, kb}, 0)
		require.Equal(t, []time.Duration{6 * time.Millisecond, 7 * time.Millisecond, 8 * time.Millisecond}, arrivals)
	})
}

// TestWireQueue: who sends waits when too much is on the way.
func TestWireQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kb := strings.Repeat("x", 1000)
		arrivals, got := testWire(t, wire{delay: 10 * time.Millisecond, queue: 2000}, []string{kb, kb, kb, kb}, 0)
		require.Equal(t, []time.Duration{10 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond}, arrivals)
		require.Len(t, got, 4000)
	})
}

// TestWireBreaks: who reads leaves; who sends is told.
func TestWireBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, src := net.Pipe()
		dst, out := net.Pipe()
		require.NoError(t, out.Close())
		passed := make(chan error, 1)
		go func() {
			passed <- wire{queue: 1}.pass(dst, src)
			_ = src.Close()
		}()
		_, err := io.WriteString(in, "a")
		require.NoError(t, err)
		require.ErrorIs(t, <-passed, io.ErrClosedPipe)
		_, err = io.WriteString(in, "b")
		require.Error(t, err)
	})
}

// TestRelay: both directions, each with its end.
func TestRelay(t *testing.T) {
	o := startTestOrigin(t)
	path, _ := o.page(reply{size: 1 << 20})
	r, err := startRelay(o.addr, wire{delay: 5 * time.Millisecond, queue: 1 << 20, exact: true})
	require.NoError(t, err)
	defer r.close()
	start := time.Now()
	got, err := getOnce(t.Context(), r.addr, &request{path: path}, time.Minute)
	require.NoError(t, err)
	require.Equal(t, checksum(1<<20), got.sum)
	require.GreaterOrEqual(t, time.Since(start), 10*time.Millisecond)
}
