package edgebreaker

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// writer notes when the header of the response comes, and whether the client takes
// it.
type writer struct {
	*caddyhttp.ResponseWriterWrapper
	rec  *record
	code int // of the first final header
	// wrote is set when the client got a header, swallowed when it was kept back.
	wrote, swallowed bool
	failed           bool          // to write to the client
	blocked          time.Duration // how long writes to the client took
}

// statusClientClosed is what Caddy's proxy writes when a request was cancelled.
const statusClientClosed = 499

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(code int) {
	// Informational ones may come from the transport's goroutine.
	if code >= 200 || code == http.StatusSwitchingProtocols {
		if !w.wrote && code == statusClientClosed && w.rec.cancelled() {
			// Over HTTP/2 the proxy takes our own cancellation for the client's.
			w.swallowed = true
			return
		}
		w.first(code)
	}
	w.ResponseWriterWrapper.WriteHeader(code)
}

// first is called before the first final header.
func (w *writer) first(code int) {
	if w.wrote {
		return
	}
	w.wrote, w.code = true, code
	if w.rec.route && !w.rec.proxyRan() {
		w.rec.leaveRoute(time.Now())
		return
	}
	if status, ok := w.rec.status(); ok {
		w.rec.answered(time.Now(), status)
	} else if w.rec.nests {
		w.rec.replacedBy(time.Now())
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	w.first(http.StatusOK)
	began := time.Since(start)
	n, err := w.ResponseWriterWrapper.Write(p)
	w.took(began, err)
	return n, err
}

// ReadFrom implements io.ReaderFrom. Whose fault an error is can't be told here; a
// proxy does not use it.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	w.first(http.StatusOK)
	began := time.Since(start)
	n, err := w.ResponseWriterWrapper.ReadFrom(r)
	w.took(began, err)
	return n, err
}

// FlushError implements what http.ResponseController looks for.
func (w *writer) FlushError() error {
	w.first(http.StatusOK)
	began := time.Since(start)
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.took(began, err)
	return err
}

// Hijack implements http.Hijacker: what follows is no response any more.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *writer) took(began time.Duration, err error) {
	w.blocked += time.Since(start) - began
	if err != nil {
		w.failed = true
	}
}

// Interface guards
var (
	_ io.ReaderFrom = (*writer)(nil)
	_ http.Hijacker = (*writer)(nil)
)
