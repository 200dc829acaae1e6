package harness

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"
)

// redials is how often a request is sent again whose connection was dropped.
const redials = 10

// redialing sends a request again whose connection was new and was dropped
// without a byte of response: a load replaces the listeners, and the old ones,
// or those of a config that is rejected, drop what the kernel gives them at the
// end.
type redialing struct {
	transport
	// loaded tells whether there was a load: before, a dropped connection is the
	// edge's answer.
	loaded *atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (t redialing) RoundTrip(req *http.Request) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		var begun atomic.Bool // on a connection that was there, or answered
		trace := &httptrace.ClientTrace{
			GotConn: func(c httptrace.GotConnInfo) {
				if c.Reused {
					begun.Store(true)
				}
			},
			GotFirstResponseByte: func() { begun.Store(true) },
		}
		again := req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
		if attempt > 0 && req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			again.Body = body
		}
		resp, err := t.transport.RoundTrip(again)
		dropped := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) ||
			// Before the request was written; net/http has no name for it.
			err != nil && strings.Contains(err.Error(), "server closed idle connection")
		spent := req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
		if !dropped || spent || begun.Load() || attempt == redials || !t.loaded.Load() || req.Context().Err() != nil {
			return resp, err
		}
	}
}
