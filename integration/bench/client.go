package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"hash/crc32"
	"net"
	"strconv"
	"time"
)

// defaultHost is the host of requests that name none.
const defaultHost = "bench.test"

// client is one keep-alive connection that sends hand-written requests.
type client struct {
	conn net.Conn
	in   *responseReader
	out  []byte
}

// request is a request, usually a GET.
type request struct {
	method string // "" is GET
	host   string // "" is defaultHost
	path   string
	// fields are whole lines with their CRLF.
	fields string
	body   []byte // sent with its length when there is one
}

// response is what a client saw of one response.
type response struct {
	status      int
	cacheStatus string
	length      int64
	sum         uint32    // checksum of the body
	first, last time.Time // of the body; both of the head when it is empty
}

// dial connects to addr. Everything on the connection must be done by the
// deadline.
func dial(ctx context.Context, addr string, deadline time.Time) (*client, error) {
	var d net.Dialer
	d.Deadline = deadline
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &client{conn: conn, in: newResponseReader(conn)}, nil
}

// secure does the handshake of TLS.
func (c *client) secure(ctx context.Context, config *tls.Config) error {
	conn := tls.Client(c.conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	c.conn, c.in = conn, newResponseReader(conn)
	return nil
}

// close ends the connection. One with TLS is not told goodbye, for which it might wait.
func (c *client) close() {
	if over, ok := c.conn.(*tls.Conn); ok {
		_ = over.NetConn().Close()
		return
	}
	_ = c.conn.Close()
}

// send writes one request.
func (c *client) send(r *request) error {
	host := r.host
	if host == "" {
		host = defaultHost
	}
	method := r.method
	if method == "" {
		method = "GET"
	}
	c.out = append(c.out[:0], method...)
	c.out = append(c.out, ' ')
	c.out = append(c.out, r.path...)
	c.out = append(c.out, " HTTP/1.1\r\nHost: "...)
	c.out = append(c.out, host...)
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, r.fields...)
	if len(r.body) > 0 {
		c.out = append(c.out, "Content-Length: "...)
		c.out = strconv.AppendInt(c.out, int64(len(r.body)), 10)
		c.out = append(c.out, "\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, r.body...)
	_, err := c.conn.Write(c.out)
	return err
}

// skim sends a request and throws the body away. The head is valid until the
// next call.
func (c *client) skim(r *request) (*responseHead, error) {
	if err := c.send(r); err != nil {
		return nil, err
	}
	head, err := c.in.readHead()
	if err != nil {
		return nil, err
	}
	if _, err := c.in.readBody(nil); err != nil {
		return nil, err
	}
	return head, nil
}

// get sends a request and tells what came when. each, when not nil, gets the
// body piece by piece.
func (c *client) get(r *request, each func([]byte)) (response, error) {
	if err := c.send(r); err != nil {
		return response{}, err
	}
	head, err := c.in.readHead()
	if err != nil {
		return response{}, err
	}
	got := response{status: head.status, cacheStatus: string(head.cacheStatus), first: time.Now()}
	seen := false
	got.length, err = c.in.readBody(func(p []byte) {
		if !seen {
			seen, got.first = true, time.Now()
		}
		got.sum = crc32.Update(got.sum, castagnoli, p)
		if each != nil {
			each(p)
		}
	})
	got.last = time.Now()
	return got, err
}

// getOnce sends one request over a connection of its own.
func getOnce(ctx context.Context, addr string, r *request, limit time.Duration) (response, error) {
	c, err := dial(ctx, addr, time.Now().Add(limit))
	if err != nil {
		return response{}, err
	}
	defer c.close()
	got, err := c.get(r, nil)
	if err != nil {
		return got, fmt.Errorf("getting %s: %w", r.path, err)
	}
	return got, nil
}
