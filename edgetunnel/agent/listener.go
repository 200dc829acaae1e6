package agent

import (
	"net"
	"sync"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// backlog is how many requests may wait until a server takes them.
const backlog = 256

// Listener gives the requests for a backend to a server of HTTP in this process, each as
// a connection of its own. It is a net.Listener.
type Listener struct {
	name    string
	forward bool // the server tells the edge itself that it takes a request
	conns   chan *conn
	done    chan struct{}
	close   func()
}

func newListener(name string, closed func()) *Listener {
	l := &Listener{name: name, conns: make(chan *conn, backlog), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() {
		close(l.done)
		closed()
		l.drop()
	})
	return l
}

// Accept implements net.Listener. That the server has got a request the edge is told at
// once.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	case c := <-l.conns:
		return c, nil
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.close()
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return Addr(l.name) }

// serve hands a request over.
func (l *Listener) serve(c *conn) {
	c.taken = !l.forward
	select {
	case <-l.done:
		c.refuse(wire.Draining)
		return
	default:
	}
	select {
	case l.conns <- c:
	default:
		c.refuse(wire.Overloaded)
		return
	}
	select {
	case <-l.done: // it may have been too late
		l.drop()
	default:
	}
}

// drop refuses those that wait.
func (l *Listener) drop() {
	for {
		select {
		case c := <-l.conns:
			c.refuse(wire.Draining)
		default:
			return
		}
	}
}

// Addr is the address of a backend that is served in this process.
type Addr string

// Network implements net.Addr.
func (Addr) Network() string { return wire.Network }

// String implements net.Addr.
func (a Addr) String() string { return string(a) }
