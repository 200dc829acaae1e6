package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// Agent connects to edges and takes their requests. Use Start.
type Agent struct {
	config   Config
	instance string
	backends *Backends

	cancel   func()
	ended    sync.WaitGroup
	active   atomic.Int64 // requests
	draining atomic.Bool
	idle     chan struct{} // has something when active may have become 0

	mu    sync.Mutex
	links map[*link]bool
}

// Start connects to the edges of a config, which Check has found right, and stays
// connected until Drain.
func Start(config Config, backends *Backends) *Agent {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	a := &Agent{
		config: config, instance: hex.EncodeToString(b[:]), backends: backends,
		idle: make(chan struct{}, 1), links: make(map[*link]bool),
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	for _, edge := range config.Edges {
		u, err := parseEdge(edge)
		if err != nil {
			panic(err) // see above
		}
		l := newLink(a, u)
		a.links[l] = true
		a.ended.Go(func() { l.run(ctx) })
	}
	return a
}

// Connected tells to how many edges the agent is connected, of how many.
func (a *Agent) Connected() (n, of int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for l := range a.links {
		if l.connected() {
			n++
		}
	}
	return n, len(a.links)
}

// Drain takes no more requests, lets those under way finish for at most deadline, and
// disconnects. It reports whether all were done.
func (a *Agent) Drain(deadline time.Duration) (done bool) {
	a.draining.Store(true)
	a.mu.Lock()
	for l := range a.links {
		l.tell(wire.Message{Drain: true})
	}
	a.mu.Unlock()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	for done = a.active.Load() == 0; !done; done = a.active.Load() == 0 {
		select {
		case <-a.idle:
			continue
		case <-timer.C:
		}
		break
	}
	a.cancel()
	a.ended.Wait()
	return done
}

// accept takes a stream of an edge's.
func (a *Agent) accept(st *mux.Stream) {
	a.active.Add(1)
	c := &conn{Stream: st, done: func() {
		if a.active.Add(-1) == 0 {
			select {
			case a.idle <- struct{}{}:
			default:
			}
		}
	}}
	go a.serve(c)
}

// serve finds the backend of a request and hands it over.
func (a *Agent) serve(c *conn) {
	if a.draining.Load() {
		c.refuse(wire.Draining)
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(headTimeout)) // never fails
	p, err := wire.ReadPreface(c)
	_ = c.SetReadDeadline(time.Time{}) // never fails
	if err != nil {
		if _, reset := errors.AsType[mux.ResetError](err); !reset {
			a.config.Log.Debug("a request could not be read", zap.Error(err))
		}
		c.refuse(wire.Invalid)
		return
	}
	b := a.backends.lookup(p.Backend)
	if b == nil {
		c.refuse(wire.Unknown)
		return
	}
	if p.Client.IsValid() {
		c.client = net.TCPAddrFromAddrPort(p.Client)
	}
	b.take(c)
}
