package edgelimit

import (
	"errors"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// statusWriter notes the status of a response.
type statusWriter struct {
	*caddyhttp.ResponseWriterWrapper
	code int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(code int) {
	if w.code == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) {
		w.code = code
	}
	w.ResponseWriterWrapper.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (w *statusWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// status returns what the client gets to see, error pages included.
func (w *statusWriter) status(err error) int {
	switch {
	case w.code != 0:
		return w.code
	case err == nil:
		return http.StatusOK // net/http's default
	}
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode != 0 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

var _ io.ReaderFrom = (*statusWriter)(nil)
