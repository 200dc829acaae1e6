package edgewaf

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// guardBody is a body that may not be longer than a limit, and that notes whether it
// could be read. A proxy reads it on another goroutine than the request's.
type guardBody struct {
	io.ReadCloser
	left, limit int64 // below zero: none
	enforce     bool

	exceeded, failed, ended, closed atomic.Bool
}

// Read implements io.Reader. One byte beyond the limit is an error, so that nobody takes
// what came before for the whole body.
func (b *guardBody) Read(p []byte) (int, error) {
	if b.exceeded.Load() && b.enforce {
		return 0, b.tooLarge()
	}
	if b.left >= 0 && b.enforce && int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left >= 0 {
		if int64(n) > b.left {
			b.exceeded.Store(true)
			if b.enforce {
				return int(b.left), b.tooLarge()
			}
			b.left = -1
		} else {
			b.left -= int64(n)
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		b.ended.Store(true)
	case !b.closed.Load():
		b.failed.Store(true)
	}
	return n, err
}

// Close implements io.Closer.
func (b *guardBody) Close() error {
	b.closed.Store(true) // who closes it early may still be reading
	return b.ReadCloser.Close()
}

// tooLarge is an error as Caddy's request_body has it.
func (b *guardBody) tooLarge() error {
	return caddyhttp.Error(http.StatusRequestEntityTooLarge, &http.MaxBytesError{Limit: b.limit})
}
