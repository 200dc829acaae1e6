package agent

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
)

// TestBackoff wants short waits at first, and jitter.
func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Now()
	begin := now
	longest := time.Duration(0)
	for now.Sub(begin) < time.Hour {
		wait := b.next(now)
		require.Positive(t, wait)
		if now.Sub(begin) <= soon {
			require.LessOrEqual(t, wait, soonWait)
		}
		require.LessOrEqual(t, wait, latestWait)
		longest = max(longest, wait)
		now = now.Add(wait)
	}
	require.Greater(t, longest, latestWait/2)
	b.least(time.Minute)
	wait := b.next(now)
	require.GreaterOrEqual(t, wait, time.Minute)
	require.LessOrEqual(t, wait, time.Minute+latestWait)
	require.LessOrEqual(t, b.next(now), latestWait, "it is asked once")
	b.reset()
	require.LessOrEqual(t, b.next(now), firstWait)

	waits := make(map[time.Duration]bool)
	for range 20 {
		var b backoff
		waits[b.next(now)] = true
	}
	require.Greater(t, len(waits), 10, "agents that lose an edge together do not come back together")
}

// scripted is an edge that answers each attempt with a text, the last one again and
// again.
func scripted(t *testing.T, answers ...string) (url string, attempts *atomic.Int64, conns chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	attempts, conns = new(atomic.Int64), make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := int(attempts.Add(1)) - 1
			go func() {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					_ = c.Close()
					return
				}
				_, _ = c.Write([]byte(answers[min(n, len(answers)-1)]))
				conns <- c
			}()
		}
	}()
	return "http://" + l.Addr().String(), attempts, conns
}

// connecting starts an agent whose log is observed.
func connecting(t *testing.T, edge string) (*Agent, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	a := Start(Config{
		Edges: []string{edge}, Name: "a", Token: func() (string, error) { return "home.verysecret", nil }, Log: zap.New(core),
	}, new(Backends))
	t.Cleanup(func() { a.Drain(0) })
	return a, logs
}

const patience = 30 * time.Second

// TestEdgesThatRefuse has edges that answer otherwise: the agent says why, once, without
// its secret, and tries again.
func TestEdgesThatRefuse(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"refused":        {"HTTP/1.1 409 Conflict\r\nContent-Length: 8\r\n\r\nis taken", "status 409: is taken"},
		"no session":     {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "status 200: OK"},
		"no HTTP":        {"SSH-2.0-OpenSSH\r\n\r\n", "reading the edge's answer"},
		"other protocol": {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "another protocol"},
		"no version":     {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: edge-tunnel/1\r\nConnection: Upgrade\r\n\r\n", "invalid version"},
		"version 2":      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: edge-tunnel/1\r\nConnection: Upgrade\r\nEdge-Tunnel-Version: 2.0.0\r\n\r\n", "version 2.0.0 of the protocol is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			edge, attempts, conns := scripted(t, test.answer)
			go func() {
				for c := range conns {
					_ = c.Close()
				}
			}()
			a, logs := connecting(t, edge)
			require.Eventually(t, func() bool { return attempts.Load() >= 3 }, patience, time.Millisecond)
			require.False(t, a.links[0].connected())
			told := logs.FilterMessage("can't connect to the edge; trying again").All()
			require.Len(t, told, 1)
			require.Contains(t, told[0].ContextMap()["error"], test.want)
			for _, entry := range logs.All() {
				require.NotContains(t, fmt.Sprint(entry.ContextMap()), "verysecret")
			}
		})
	}
}

// TestUnwillingEdgesAreLeftAlone waits longer where asking again is no use.
func TestUnwillingEdgesAreLeftAlone(t *testing.T) {
	require.Zero(t, waitOf(errors.New("no route")))
	require.Zero(t, waitOf(refusedError{status: 409}))
	require.Equal(t, 10*time.Second, waitOf(refusedError{status: 503, wait: 10 * time.Second}))
	for _, status := range []int{401, 403, 404, 426} {
		require.Equal(t, 5*time.Second, waitOf(refusedError{status: status}), status)
	}
	require.Equal(t, time.Minute, waitOf(refusedError{status: 429, wait: time.Minute}))
}

// TestOlderEdge speaks an older minor version, and says nothing of its heartbeat.
func TestOlderEdge(t *testing.T) {
	edge, _, conns := scripted(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: edge-tunnel/1\r\nConnection: Upgrade\r\nEdge-Tunnel-Version: 1.0.0\r\n\r\n")
	a, _ := connecting(t, edge)
	messages := make(chan string, 1)
	s := mux.New(<-conns, nil, mux.Config{Control: func(b []byte) { messages <- string(b) }})
	t.Cleanup(func() { _ = s.Close() })
	require.JSONEq(t, `{"backends":[]}`, <-messages)
	require.Eventually(t, a.links[0].connected, patience, time.Millisecond)
}

func TestHeartbeatOf(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "x": 0, "2000": 2 * time.Second, "1": 200 * time.Millisecond, "-5": 200 * time.Millisecond, "99999999": time.Minute} {
		require.Equal(t, want, heartbeatOf(text), text)
	}
}

// TestListener hands streams to a server of this process, and refuses what nobody takes.
func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var backends Backends
		old, err := backends.Listen("app")
		require.NoError(t, err)
		young, err := backends.Listen("app")
		require.NoError(t, err)
		require.Same(t, young, backends.lookup("app").server)
		require.NoError(t, young.Close())
		require.Same(t, old, backends.lookup("app").server, "the one before has it again")
		require.NoError(t, old.Close())
		require.NoError(t, old.Close())
		require.Nil(t, backends.lookup("app"))
		_, err = old.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = backends.Listen("App")
		require.Error(t, err)
		require.Equal(t, Addr("app"), old.Addr())
		require.Equal(t, "edge_tunnel", old.Addr().Network())
	})
}

func TestStrip(t *testing.T) {
	for _, c := range [][3]string{
		{"/app/x", "/app", "/x"}, {"/app", "/app", "/"}, {"/application", "/app", "/application"}, {"/app/", "/app/", "/"}, {"/app/x", "/app/", "/x"}, {"/x", "/app", "/x"}, {"", "/app", ""},
	} {
		require.Equal(t, c[2], strip(c[0], c[1]), c)
	}
}
