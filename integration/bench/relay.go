package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// wire is a direction of a network.
type wire struct {
	delay time.Duration // from one end to the other
	rate  float64       // bytes per second; 0: whatever comes
	queue int           // bytes that may be on the way
	// exact has the system wait, which is late by less than a tenth of a millisecond,
	// instead of a timer of Go, which may be by a whole one.
	exact bool
}

// wait waits until something is due.
func (w *wire) wait(due time.Time) {
	d := time.Until(due)
	if !w.exact || d <= 0 {
		time.Sleep(d)
		return
	}
	left := unix.NsecToTimespec(int64(d))
	for errors.Is(unix.Nanosleep(&left, &left), unix.EINTR) { // by a signal of the scheduler's
		continue
	}
}

// pieceSize is how much is passed on at once.
const pieceSize = 64 << 10

// piece is what was read at once.
type piece struct {
	due  time.Time // at the other end
	data []byte
}

// flow is what is on the way in one direction.
type flow struct {
	wire
	mu     sync.Mutex
	moved  sync.Cond // when something was put in or taken out
	pieces []piece
	bytes  int
	free   time.Time // when the wire has sent all that was put in
	ended  bool      // nothing more is put in
	broken bool      // nothing more is taken out
}

func newFlow(w wire) *flow {
	f := &flow{wire: w}
	f.moved.L = &f.mu
	return f
}

// put takes note of data and waits while there is no room. It reports whether more is
// wanted.
func (f *flow) put(data []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.bytes > 0 && f.bytes+len(data) > f.queue && !f.broken {
		f.moved.Wait()
	}
	now := time.Now()
	if f.free.Before(now) {
		f.free = now
	}
	if f.rate > 0 {
		f.free = f.free.Add(duration(float64(len(data)) / f.rate))
	}
	f.pieces, f.bytes = append(f.pieces, piece{f.free.Add(f.delay), data}), f.bytes+len(data)
	f.moved.Broadcast()
	return !f.broken
}

// take returns the next data when it is due. It reports false at the end. What was taken
// before is no longer on the way.
func (f *flow) take(before int) ([]byte, bool) {
	f.mu.Lock()
	f.bytes -= before
	f.moved.Broadcast()
	for len(f.pieces) == 0 && !f.ended {
		f.moved.Wait()
	}
	if len(f.pieces) == 0 {
		f.mu.Unlock()
		return nil, false
	}
	next := f.pieces[0]
	f.pieces = f.pieces[1:]
	f.mu.Unlock()
	f.wait(next.due)
	return next.data, true
}

// end is told by the one end; stop by the other one.
func (f *flow) end() { f.set(&f.ended) }

func (f *flow) stop() { f.set(&f.broken) }

func (f *flow) set(to *bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*to = true
	f.moved.Broadcast()
}

// pass copies from src to dst over a wire, until the end of src.
func (w wire) pass(dst io.Writer, src io.Reader) error {
	f := newFlow(w)
	var (
		reading sync.WaitGroup
		readErr error
	)
	reading.Go(func() {
		defer f.end()
		for buf := make([]byte, pieceSize); ; {
			n, err := src.Read(buf)
			if n > 0 && !f.put(bytes.Clone(buf[:n])) {
				return
			}
			if err != nil {
				readErr = err
				return
			}
		}
	})
	for taken := 0; ; {
		data, ok := f.take(taken)
		if !ok {
			break
		}
		if _, err := dst.Write(data); err != nil {
			f.stop()
			return err
		}
		taken = len(data)
	}
	reading.Wait()
	if errors.Is(readErr, io.EOF) {
		return nil
	}
	return readErr
}

// relay is a network in front of an address: it passes connections on, each direction
// over a wire of its own.
type relay struct {
	addr     string
	to       string
	wire     wire
	listener net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	ended  sync.WaitGroup
}

// startRelay starts one in front of an address.
func startRelay(to string, w wire) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{addr: l.Addr().String(), to: to, wire: w, listener: l, conns: make(map[net.Conn]bool)}
	r.ended.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.ended.Go(func() { r.serve(conn) })
		}
	})
	return r, nil
}

// close ends the relay and its connections.
func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for conn := range r.conns {
		_ = conn.Close()
	}
	r.mu.Unlock()
	r.ended.Wait()
}

// hold has close end a connection, and reports whether the relay goes on.
func (r *relay) hold(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[conn] = true
	if r.wire.rate > 0 {
		// What is queued is to be in the relay.
		_ = conn.(*net.TCPConn).SetReadBuffer(pieceSize)
		_ = conn.(*net.TCPConn).SetWriteBuffer(pieceSize)
	}
	return !r.closed
}

func (r *relay) serve(conn net.Conn) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var d net.Dialer
	other, err := d.DialContext(ctx, "tcp", r.to)
	if err != nil {
		_ = conn.Close()
		return
	}
	end := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, c := range []net.Conn{conn, other} {
			delete(r.conns, c)
			_ = c.Close()
		}
	}
	defer end()
	if !r.hold(conn) || !r.hold(other) {
		return
	}
	var both sync.WaitGroup
	one := func(dst, src net.Conn) {
		if r.wire.pass(dst, src) != nil || dst.(*net.TCPConn).CloseWrite() != nil {
			end()
		}
	}
	both.Go(func() { one(other, conn) })
	both.Go(func() { one(conn, other) })
	both.Wait()
}
