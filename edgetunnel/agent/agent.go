package agent

import (
	"context"
	"io"
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
	backends *Backends

	cancel   func()
	ended    sync.WaitGroup
	active   atomic.Int64 // requests
	draining atomic.Bool
	links    []*link
}

// Start connects to the edges of a config, which Check has found right, and stays
// connected until Drain.
func Start(config Config, backends *Backends) *Agent {
	a := &Agent{config: config, backends: backends}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	for _, edge := range config.Edges {
		u, err := parseEdge(edge)
		if err != nil {
			panic(err) // see above
		}
		l := newLink(a, u)
		a.links = append(a.links, l)
		a.ended.Go(func() { l.run(ctx) })
	}
	return a
}

// Drain takes no more requests, and lets those under way finish for at most deadline. The
// edges end the sessions: it is them that know when the responses have come. It reports
// whether all were done.
func (a *Agent) Drain(deadline time.Duration) (done bool) {
	a.draining.Store(true)
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	done = true
	for _, l := range a.links {
		s := l.drain()
		if s == nil {
			continue
		}
		select {
		case <-s.Done():
		case <-timer.C:
			timer.Reset(0) // it is over for the others, too
			done = false
		}
	}
	done = done && a.active.Load() == 0
	a.cancel()
	a.ended.Wait()
	return done
}

// present reads what has come of a stream.
type present struct{ *mux.Stream }

// Read implements io.Reader.
func (p present) Read(b []byte) (int, error) {
	n := p.ReadNow(b)
	if n == 0 && len(b) > 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}

// accept takes a stream of an edge's and hands it to the backend. It does not wait.
func (a *Agent) accept(st *mux.Stream) {
	a.active.Add(1)
	c := &conn{Stream: st, done: func() { a.active.Add(-1) }}
	if a.draining.Load() {
		c.refuse(wire.Draining)
		return
	}
	p, err := wire.ReadPreface(present{st})
	if err != nil {
		a.config.Log.Debug("a request could not be read", zap.Error(err))
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
