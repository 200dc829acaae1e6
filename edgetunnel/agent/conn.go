package agent

import (
	"net"
	"sync"
	"time"

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
	taken  bool        // the first to read answers
	soon   *time.Timer // answers when it has not been done until then; nil: it is done at once
}

// answer sends the status, once, in front of all else.
func (c *conn) answer(s wire.Status) (err error) {
	c.status.Do(func() { _, err = c.Stream.Write([]byte{byte(s)}) })
	return err
}

// statusDelay is how long an answer may wait for the beginning of the response.
const statusDelay = 5 * time.Millisecond

// answerSoon tells the edge that a request is taken for which it does not wait: together with
// the response, unless that takes longer.
func (c *conn) answerSoon() {
	c.soon = time.AfterFunc(statusDelay, func() { _ = c.answer(wire.Accepted) }) // the edge may be gone
}

// Read implements io.Reader. It tells the edge that a server has got the request, which may
// have to wait for the connection.
func (c *conn) Read(p []byte) (int, error) {
	if c.taken {
		c.taken = false
		if err := c.answer(wire.Accepted); err != nil {
			return 0, err
		}
	}
	return c.Stream.Read(p)
}

// Write implements io.Writer.
func (c *conn) Write(p []byte) (int, error) {
	if c.soon != nil {
		c.soon.Stop()
		if err := c.answer(wire.Accepted); err != nil {
			return 0, err
		}
		c.soon = nil
	}
	return c.Stream.Write(p)
}

// refuse sends a status and ends the stream. It does not wait.
func (c *conn) refuse(s wire.Status) {
	go func() {
		_ = c.answer(s) // the edge may be gone
		_ = c.Close()   // likewise
	}()
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
		if c.soon != nil {
			c.soon.Stop()
		}
		_ = c.CloseWrite() // the edge may be gone
		_ = c.Stream.Close()
		if c.done != nil {
			c.done()
		}
	})
	return nil
}
