package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// Origin is a running scripted server on a loopback port.
type Origin struct {
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	serving  sync.WaitGroup

	mu       sync.Mutex // guards everything below
	scripts  map[string]Func
	prefixes map[string]Func
	requests []*Request
	stats    map[string]*Stats
	conns    map[net.Conn]struct{}
	accepted int
	changed  chan struct{} // closed and renewed at each change of stats
}

// New starts an origin. Close stops it.
func New() (*Origin, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the origin: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &Origin{
		listener: listener,
		ctx:      ctx,
		cancel:   cancel,
		scripts:  make(map[string]Func),
		prefixes: make(map[string]Func),
		stats:    make(map[string]*Stats),
		conns:    make(map[net.Conn]struct{}),
		changed:  make(chan struct{}),
	}
	o.serving.Go(o.accept)
	return o, nil
}

// Start starts an origin that is closed when the test ends.
func Start(t testing.TB) *Origin {
	t.Helper()
	o, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// Addr returns host and port, as reverse_proxy takes them.
func (o *Origin) Addr() string { return o.listener.Addr().String() }

// URL returns the address of a path on the origin itself, past any proxy.
func (o *Origin) URL(path string) string { return "http://" + o.Addr() + path }

// Connections returns how many connections were accepted so far.
func (o *Origin) Connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepted
}

// Handle gives the same reply to each request of a path (without query). A path
// that ends in "*" stands for all paths with that prefix; an exact path goes
// first, then the longest prefix. A later call for a path replaces the earlier.
// Other paths are answered by a 404 that must not be stored.
func (o *Origin) Handle(path string, reply Reply) {
	o.HandleFunc(path, func(*Request) Reply { return reply })
}

// HandleFunc is Handle with a reply that depends on the request.
func (o *Origin) HandleFunc(path string, f Func) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if prefix, ok := strings.CutSuffix(path, "*"); ok {
		o.prefixes[prefix] = f
		return
	}
	o.scripts[path] = f
}

// CloseConnections closes all connections, also those that wait for their next
// request, as an origin that restarts does. New ones are accepted as before.
func (o *Origin) CloseConnections() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for conn := range o.conns {
		conn.Close()
	}
}

// Close stops the origin, drops its connections, ends replies that hang or wait
// at a gate, and returns when all of its goroutines ended.
func (o *Origin) Close() {
	o.cancel()
	o.listener.Close()
	o.CloseConnections()
	o.serving.Wait()
}

// script returns what answers a path.
func (o *Origin) script(path string) Func {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.scripts[path]; f != nil {
		return f
	}
	found, longest := Func(unscripted), -1
	for prefix, f := range o.prefixes {
		if strings.HasPrefix(path, prefix) && len(prefix) > longest {
			found, longest = f, len(prefix)
		}
	}
	return found
}

func unscripted(r *Request) Reply {
	return Reply{
		Status:  404,
		Headers: []string{"Cache-Control: no-store", "Content-Type: text/plain"},
		Body:    []byte("no script for " + r.Path + "\n"),
	}
}

func (o *Origin) accept() {
	for {
		conn, err := o.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if !o.adopt(conn) {
			conn.Close()
			return
		}
		o.serving.Go(func() {
			defer o.release(conn)
			o.serve(conn)
		})
	}
}

// adopt registers a connection, or refuses it when the origin was closed.
func (o *Origin) adopt(conn net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ctx.Err() != nil {
		return false
	}
	o.accepted++
	o.conns[conn] = struct{}{}
	return true
}

func (o *Origin) release(conn net.Conn) {
	conn.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.conns, conn)
}
