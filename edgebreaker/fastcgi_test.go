package edgebreaker

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// hanging is a FastCGI server that answers 200 when it is released. It counts the requests
// that have come.
func hanging(t *testing.T) (address string, release func(), asked *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	asked = new(atomic.Int32)
	released := make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	t.Cleanup(func() { l.Close() })
	record := func(kind byte, content string) string {
		return string([]byte{1, kind, 0, 1, 0, byte(len(content)), 0, 0}) + content
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := c.Read(make([]byte, 1)); err != nil {
					return
				}
				asked.Add(1)
				<-released
				_, _ = io.WriteString(c, record(6, "Content-Type: text/plain\r\n\r\nhello")+record(6, "")+record(3, "\x00\x00\x00\x00\x00\x00\x00\x00"))
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().String(), release, asked
}

func fastcgiSite(options, address, transport string) string {
	return "edge_breaker {\n" + options + "\n}\nreverse_proxy " + address + " {\ntransport fastcgi {\n" + transport + "\n}\nlb_policy edge\n}"
}

// TestFastCGIHangs: its transport does not look at the deadline, but the backend has
// failed when it passes, not when somebody notices.
func TestFastCGIHangs(t *testing.T) {
	for _, option := range []string{"header_timeout 50ms", "header_timeout off\ntimeout 50ms"} {
		address, release, _ := hanging(t)
		g := newRig(t)
		g.log = filepath.Join(g.dir, "log")
		g.load(fastcgiSite("failures 2\n"+option, address, ""))
		require.Contains(t, g.logged(), "read_timeout")
		replies := make(chan reply, 2)
		for range 2 {
			go func() { replies <- g.get("/index.php") }()
		}
		eventually(t, func() bool { return backend(t, address).State() == breaker.Open })
		require.Equal(t, 503, g.get("/index.php").status)
		require.Equal(t, 2, backend(t, address).Active(), "they still wait")
		before := errorsOf(address)
		release()
		for range 2 {
			require.Equal(t, 200, (<-replies).status)
		}
		eventually(t, func() bool { return backend(t, address).Active() == 0 })
		requireState(t, address, breaker.Open)
		require.Equal(t, 2, errorsOf(address)[failureTimeout]-before[failureTimeout])
	}
}

// TestFastCGIClientLeaves: who leaves before the deadline says nothing.
func TestFastCGIClientLeaves(t *testing.T) {
	address, release, asked := hanging(t)
	g := newRig(t)
	g.load(fastcgiSite("failures 1\nheader_timeout 500ms", address, ""))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://edge/index.php", nil)
	require.NoError(t, err)
	done := make(chan error)
	go func() {
		_, err := g.client.Do(r) //nolint:bodyclose // there is none
		done <- err
	}()
	eventually(t, func() bool { return asked.Load() == 1 }) // else the dial is what ends
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	// The deadline passes, and twice as much again.
	require.Never(t, func() bool { return backend(t, address).State() == breaker.Open }, 1500*time.Millisecond, 10*time.Millisecond)
	release()
	eventually(t, func() bool { return backend(t, address).Active() == 0 })
	requireState(t, address, breaker.Closed)
}

// TestFastCGIReadTimeout: with a read_timeout there is nothing to warn of.
func TestFastCGIReadTimeout(t *testing.T) {
	address, _, _ := hanging(t)
	g := newRig(t)
	g.log = filepath.Join(g.dir, "log")
	g.load(fastcgiSite("failures 1\nheader_timeout off", address, "read_timeout 50ms"))
	require.NotContains(t, g.logged(), "read_timeout")
	require.Equal(t, 504, g.get("/index.php").status)
	requireState(t, address, breaker.Open)
}

// TestRoutesThatTakeLong: once the backend has answered, a deadline says nothing of it,
// though routes keep the answer back.
func TestRoutesThatTakeLong(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(site("failures 1\nheader_timeout 50ms", a.address, "@sub status 202\nhandle_response @sub {\nreverse_proxy "+b.address+"\n}"))
	a.status(202, "")
	b.serve(func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(300 * time.Millisecond)
		w.WriteHeader(http.StatusOK)
	})
	require.Equal(t, 200, g.get("/").status)
	requireState(t, a.address, breaker.Closed)
}
