package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

func TestASingleBackendOpens(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{rules: "failures 5\nopen 1h 1h"})
	b.backends[0].Handle("/broken", failing())
	// Five in a row: what is good in between starts the count afresh.
	require.Equal(t, map[int]int{http.StatusInternalServerError: 4}, b.gets(4, "/broken"))
	poll(t, "all are counted", func() bool { s := b.status(0); return s.Active == 0 && s.Failures == 4 })
	require.Equal(t, http.StatusOK, b.get("/page").Status)
	poll(t, "the good one is counted", func() bool { s := b.status(0); return s.Active == 0 && s.Failures == 0 })
	require.Equal(t, map[int]int{http.StatusInternalServerError: 5}, b.gets(5, "/broken"))
	requireUnavailable(t, b.get("/page"), 3590, 3600)
	require.Equal(t, 1, b.origin.Stats("/page").Arrived)
	s := b.status(0)
	require.Equal(t, "open", s.State)
	require.WithinRange(t, *s.OpenUntil, time.Now().Add(50*time.Minute), time.Now().Add(61*time.Minute))

	head := b.do(http.MethodHead, "/page", "")
	require.Equal(t, http.StatusServiceUnavailable, head.Status)
	require.Equal(t, b.get("/page").Header.Get("Content-Length"), head.Header.Get("Content-Length"))
	require.Empty(t, head.Body)
}

// TestItClosesByItself has the open time end.
func TestItClosesByItself(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{rules: "failures 1\nopen 1ms 1ms\nsuccesses 3\nprobes 1\nslow_start off"})
	b.origin.Handle("/broken", failing())
	require.Equal(t, http.StatusInternalServerError, b.get("/broken").Status)
	poll(t, "it is open", func() bool { return b.status(0).State == "open" })
	poll(t, "it closes", func() bool {
		b.get("/page")
		return b.status(0).State == "closed"
	})
	require.Equal(t, http.StatusOK, b.get("/page").Status)
	m := b.Metrics()
	for _, to := range []string{"open", "half_open", "closed"} {
		require.InDelta(t, 1, m[`caddy_edge_breaker_transitions_total{backend="`+b.addr(0)+`",to="`+to+`"}`], 0, to)
	}
}

func TestProbesNeverExceedTheCap(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{rules: patient + "probes 3\nsuccesses 100"})
	for _, p := range []harness.Proto{harness.H1, harness.H2C} {
		t.Run(string(p), func(t *testing.T) {
			b := b.in(t)
			b.halfOpen(0)
			path := "/probe/" + string(p)
			gate := origin.NewGate()
			t.Cleanup(gate.Open)
			held := text("ok")
			held.HoldHeader = gate
			b.origin.Handle(path, held)
			for round := range 5 {
				probes := sendTogether(t, b.Client(p), 60, func(int) *http.Request { return b.request(http.MethodGet, path) })
				b.origin.WaitActive(t, path, 3)
				poll(t, "57 were refused", func() bool {
					return b.Metrics()[`caddy_edge_breaker_refused_total{reason="open"}`] >= float64(b.refusedBefore(p)+57*(round+1))
				})
				require.Equal(t, 3, b.status(0).Probes)
				gate.Step(3)
				for _, got := range probes.responses() {
					if got.Status != http.StatusOK {
						requireUnavailable(t, got, 1, 1)
					}
				}
				require.Equal(t, 3*(round+1), b.origin.Stats(path).Arrived)
			}
			require.Equal(t, 3, b.origin.Stats(path).Peak)
			poll(t, "all succeeded", func() bool { return b.status(0).Successes == 15 })
		})
	}
}

// refusedBefore is how many requests the protocols before p had refused.
func (b *breakerEdge) refusedBefore(p harness.Proto) int {
	if p == harness.H1 {
		return 0
	}
	return 57 * 5
}

func TestOneProbeAtATimeCloses(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{rules: patient + "probes 1\nsuccesses 3"})
	b.halfOpen(0)
	for i := range 3 {
		require.Equal(t, http.StatusOK, b.get("/page").Status, "probe %d", i+1)
	}
	b.awaitState(0, "closed")

	t.Run("a probe that fails opens again", func(t *testing.T) {
		b := b.in(t)
		b.halfOpen(0)
		require.Equal(t, http.StatusOK, b.get("/page").Status)
		b.origin.Handle("/broken", failing())
		require.Equal(t, http.StatusInternalServerError, b.get("/broken").Status)
		requireUnavailable(t, b.get("/page"), 3590, 3600)
	})
	t.Run("what does not come to an answer gives the slot back", func(t *testing.T) {
		b := b.in(t)
		for _, p := range []harness.Proto{harness.H1, harness.H2C} {
			b.halfOpen(0)
			path := "/leave/" + string(p)
			b.origin.Handle(path, origin.Reply{HoldHeader: origin.NewGate()})
			for i := range 3 {
				ctx, leave := context.WithCancel(t.Context())
				sent := sendTogether(t, b.Client(p), 1, func(int) *http.Request { return b.request(http.MethodGet, path).WithContext(ctx) })
				b.origin.WaitArrived(t, path, i+1)
				requireUnavailable(t, b.get("/page"), 1, 1)
				leave()
				require.ErrorIs(t, sent.wait()[0].err, context.Canceled)
				poll(t, "the slot is free", func() bool { return b.status(0).Probes == 0 })
			}
			require.Equal(t, "half_open", b.status(0).State)
			require.Equal(t, http.StatusOK, b.get("/page").Status)
		}
	})
}

// TestLongResponsesAsProbes has responses that last for hours: they hold the slot
// of a probe up to their header.
func TestLongResponsesAsProbes(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{rules: patient + "probes 1\nsuccesses 6"})
	rest := origin.NewGate()
	t.Cleanup(rest.Open)
	download := origin.Reply{Body: origin.Pattern(100_000), ChunkSize: 50_000}
	// The first half comes at once.
	halves := func(reply origin.Reply) origin.Func {
		return func(*origin.Request) origin.Reply {
			gate, held := origin.NewGate(), reply
			gate.Step(1)
			held.HoldChunk = gate
			go func() {
				if rest.Wait(t.Context()) == nil {
					gate.Open()
				}
			}()
			return held
		}
	}
	b.origin.HandleFunc("/download", halves(download))
	download.Framing, download.Headers = origin.Chunked, []string{"Content-Type: text/event-stream"}
	b.origin.HandleFunc("/events", halves(download))
	b.origin.Handle("/socket", echo())
	b.halfOpen(0)

	var bodies []io.ReadCloser
	for _, p := range []harness.Proto{harness.H1, harness.H2C} {
		for _, path := range []string{"/download", "/events"} {
			resp, _ := open(t, b.Client(p), b.request(http.MethodGet, path))
			require.Equal(t, http.StatusOK, resp.StatusCode)
			bodies = append(bodies, resp.Body)
		}
	}
	socket, reader := b.socket()
	require.Equal(t, "hello", exchange(t, socket, reader, "hello"))
	s := b.status(0)
	require.Equal(t, []any{"half_open", 5, 0}, []any{s.State, s.Active, s.Probes})

	// All are still under way, and there is room for the next one.
	require.Equal(t, http.StatusOK, b.get("/page").Status)
	rest.Open()
	for _, body := range bodies {
		got, err := io.ReadAll(body)
		require.NoError(t, err)
		requireBody(t, origin.Pattern(100_000), got)
	}
	require.Equal(t, "still there", exchange(t, socket, reader, "still there"))
	require.NoError(t, socket.Close())
	b.awaitState(0, "closed")
}

// echo is a reply that switches protocols and sends lines back.
func echo() origin.Reply {
	return origin.Reply{Takeover: func(conn net.Conn, buffered *bufio.ReadWriter) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			line, err := buffered.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
	}}
}

// socket switches protocols at /socket.
func (b *breakerEdge) socket() (net.Conn, *bufio.Reader) {
	b.t.Helper()
	conn := b.Dial("site")
	require.NoError(b.t, conn.SetDeadline(time.Now().Add(limit)))
	_, err := fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", b.host())
	require.NoError(b.t, err)
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusSwitchingProtocols, resp.StatusCode)
	return conn, reader
}

// exchange sends a line and returns the one that comes back.
func exchange(t *testing.T, conn net.Conn, reader *bufio.Reader, line string) string {
	t.Helper()
	_, err := io.WriteString(conn, line+"\n")
	require.NoError(t, err)
	got, err := reader.ReadString('\n')
	require.NoError(t, err)
	return got[:len(got)-1]
}
