package edgewaf

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// guardWriter sets fields of the response when its header goes out, and puts a refusal
// in the place of a response to a body that turned out too large.
type guardWriter struct {
	*caddyhttp.ResponseWriterWrapper
	visit    *visit
	wrote    bool // the final header
	hijacked bool // the connection, and with it the body, is another's
	replaced bool // what the handlers behind send goes nowhere
}

// errReplaced ends the copying of a response in whose place a refusal was sent.
var errReplaced = errors.New("the body of the request is too large")

// WriteHeader implements http.ResponseWriter.
func (w *guardWriter) WriteHeader(code int) {
	// Informational ones may come from the transport's goroutine.
	if code >= 200 || code == http.StatusSwitchingProtocols {
		w.first(code)
	}
	if !w.replaced {
		w.ResponseWriterWrapper.WriteHeader(code)
	}
}

// Write implements http.ResponseWriter.
func (w *guardWriter) Write(p []byte) (int, error) {
	if w.first(http.StatusOK); w.replaced {
		return 0, errReplaced
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (w *guardWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.first(http.StatusOK); w.replaced {
		return 0, errReplaced
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError implements what http.ResponseController looks for.
func (w *guardWriter) FlushError() error {
	if w.first(http.StatusOK); w.replaced {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker: what follows is no response any more.
func (w *guardWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.wrote, w.hijacked = true, true
	}
	return conn, rw, err
}

// first is called before the first final header.
func (w *guardWriter) first(code int) {
	if w.wrote {
		return
	}
	w.wrote = true
	v := w.visit
	if code == http.StatusSwitchingProtocols {
		return
	}
	if b := v.body; b != nil && b.enforce && b.exceeded.Load() {
		w.replaced, v.close = true, true
		header := w.Header()
		clear(header)
		v.fields(header)
		v.write(w.ResponseWriter, checkBodySize)
		// The handlers behind may take their time to find out.
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		return
	}
	v.fields(w.Header())
}

// Interface guards
var (
	_ io.ReaderFrom = (*guardWriter)(nil)
	_ http.Hijacker = (*guardWriter)(nil)
)
