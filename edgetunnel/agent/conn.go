package agent

import (
	"net"
	"sync"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// conn is the stream of one request, as a server of HTTP sees it.
type conn struct {
	*mux.Stream
	client net.Addr // nil: unknown
	status sync.Once
	close  sync.Once
	done   func()
}

// answer sends the status, once, in front of all else.
func (c *conn) answer(s wire.Status) (err error) {
	c.status.Do(func() { _, err = c.Write([]byte{byte(s)}) })
	return err
}

// refuse sends a status and ends the stream.
func (c *conn) refuse(s wire.Status) {
	_ = c.answer(s) // the edge may be gone
	_ = c.Close()   // likewise
}

// RemoteAddr is the address of the client.
func (c *conn) RemoteAddr() net.Addr {
	if c.client != nil {
		return c.client
	}
	return c.Stream.RemoteAddr()
}

// Close ends the response; what is left of the request is not wanted.
func (c *conn) Close() error {
	c.close.Do(func() {
		_ = c.CloseWrite() // the edge may be gone
		_ = c.Stream.Close()
		if c.done != nil {
			c.done()
		}
	})
	return nil
}
