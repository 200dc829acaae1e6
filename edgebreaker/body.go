package edgebreaker

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// body notes what becomes of the request's body: whether it could be read, when it
// ended, and how long the client let us wait. The transport reads it, on a
// goroutine of its own.
type body struct {
	io.ReadCloser
	left    atomic.Int64 // below zero: unknown
	reading atomic.Int64 // when the Read under way began
	last    atomic.Int64 // when the last Read returned
	end     atomic.Int64 // when it ended
	waits   atomic.Int64 // time spent in Read
	before  atomic.Int64 // that was spent before a backend was asked
	failed  atomic.Bool
	closing atomic.Bool
	begun   atomic.Bool // a Read was begun: what comes may be gone
	some    atomic.Bool // something was read
}

// start is where the times of bodies are counted from; zero means never.
var start = time.Now().Add(-time.Second)

// Read implements io.Reader. A proxy behind another one may call it while the first one's
// transport has not stopped yet.
func (b *body) Read(p []byte) (int, error) {
	if !b.begun.Load() && !b.closing.Load() {
		b.begun.Store(true)
	}
	began := time.Since(start)
	b.reading.Store(int64(began))
	n, err := b.ReadCloser.Read(p)
	now := time.Since(start)
	b.last.Store(int64(now))
	b.reading.Store(0)
	b.waits.Add(int64(now - began))
	if n > 0 && !b.some.Load() {
		b.some.Store(true)
	}
	left := b.left.Load()
	if left > 0 {
		left = b.left.Add(-int64(n))
	}
	switch {
	case err == nil && left != 0, b.closing.Load(): // the transport has given it up
	case err == nil || errors.Is(err, io.EOF) && left <= 0: // over HTTP/3 a body that is too short ends like any other
		b.end.CompareAndSwap(0, int64(now))
	default:
		b.failed.Store(true)
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.closing.Store(true)
	return b.ReadCloser.Close()
}

// ended returns when the body was read to its end.
func (b *body) ended() (time.Time, bool) {
	at := b.end.Load()
	return start.Add(time.Duration(at)), at != 0
}

// empty reports whether it was read to its end and had nothing, as over HTTP/3, which
// tells of no length.
func (b *body) empty() bool { return b.end.Load() != 0 && !b.some.Load() }

// touched returns when something of the body came last.
func (b *body) touched() time.Time { return start.Add(time.Duration(b.last.Load())) }

// asks notes that a backend is asked from here on. What the client took before, while
// the proxy filled its buffer, kept none waiting.
func (b *body) asks() { b.before.Store(int64(b.spent())) }

// waited returns how long a backend has waited for the body.
func (b *body) waited() time.Duration { return b.spent() - time.Duration(b.before.Load()) }

func (b *body) spent() time.Duration {
	spent := time.Duration(b.waits.Load())
	if since := b.reading.Load(); since != 0 {
		spent += time.Since(start) - time.Duration(since)
	}
	return spent
}
