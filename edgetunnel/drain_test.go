package edgetunnel

import (
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgetunnel/agent"
)

// relay forwards connections to an address. What comes back from those who connect is as slow
// as rate says, in bytes per second, 0 for no bound; both directions are late by delay.
func relay(t *testing.T, to string, rate int, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go late(far, near, rate, delay)
			go late(near, far, 0, delay)
		}
	}()
	return l.Addr().String()
}

// piece is what was read, and when it is due.
type piece struct {
	bytes []byte
	due   time.Time
}

func late(to, from net.Conn, rate int, delay time.Duration) {
	const under = 1000
	pieces := make(chan piece, under)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 4<<10)
			n, err := from.Read(b)
			if n > 0 {
				pieces <- piece{b[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due)) // the link's delay is what is tested
		if rate > 0 {
			time.Sleep(time.Duration(len(p.bytes)) * time.Second / time.Duration(rate))
		}
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

// connectOver starts an agent that reaches the edge by another address.
func (e *edge) connectOver(name, address string, backend http.Handler) *agent.Agent {
	e.t.Helper()
	backends := new(agent.Backends)
	stop, err := backends.Forward("app", agent.Forward{To: serve(e.t, backend)})
	require.NoError(e.t, err)
	e.t.Cleanup(stop)
	return e.start(agent.Config{Name: name, Edges: []string{"http://" + address}}, backends)
}

// TestDrainOverSlowLink drains an agent that has written a response which is still on its
// way: it must come whole.
func TestDrainOverSlowLink(t *testing.T) {
	e := newEdge(t)
	e.load()
	whole := noise(1 << 20)
	written := make(chan struct{})
	a := e.connectOver("a", relay(t, "127.0.0.1:"+e.port, 400<<10, 0), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(whole)
		close(written)
	}))
	e.serving(1)
	resp, err := client(t).Get(e.url() + "/")
	require.NoError(t, err)
	defer resp.Body.Close()
	drained := make(chan bool)
	go func() {
		<-written
		drained <- a.Drain(patience)
	}()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(whole), sha256.Sum256(got))
	require.True(t, <-drained)
}

// TestDrainCrossesRequests drains an agent that is far away, so that requests cross what it
// says: all go to the other one, whatever their method and whether they have a body.
func TestDrainCrossesRequests(t *testing.T) {
	e := newEdge(t)
	e.proxy = "lb_retries 5\nlb_policy round_robin"
	e.load()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	const far = 10 * time.Millisecond
	one := e.connectOver("one", relay(t, "127.0.0.1:"+e.port, 0, far), ok)
	e.connectOver("two", relay(t, "127.0.0.1:"+e.port, 0, far), ok)
	e.serving(2)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var asked atomic.Int64
	c := client(t)
	for _, method := range []string{"GET", "POST", "DELETE", "PUT", "HEAD", "PATCH"} {
		for range 2 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					r, err := http.NewRequest(method, e.url()+"/", nil)
					if err != nil {
						t.Error(err)
						return
					}
					resp, err := c.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					_ = resp.Body.Close()
					asked.Add(1)
					if resp.StatusCode != http.StatusOK {
						t.Errorf("%s: %d", method, resp.StatusCode)
						return
					}
				}
			})
		}
	}
	require.Eventually(t, func() bool { return asked.Load() > 100 }, patience, time.Millisecond)
	require.True(t, one.Drain(patience))
	now := asked.Load()
	require.Eventually(t, func() bool { return asked.Load() > now+50 }, patience, time.Millisecond)
	close(stop)
	all.Wait()
}
