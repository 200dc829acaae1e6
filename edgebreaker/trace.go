package edgebreaker

import (
	"crypto/tls"
	"net/http/httptrace"
	"sync/atomic"
)

// trace tells how far an attempt came, for those whose error nobody tells us because
// the proxy tries again.
type trace struct {
	hooks                         httptrace.ClientTrace
	asked, handshake, ready, sent atomic.Bool
	short                         atomic.Bool              // this machine was short of something
	refused                       atomic.Pointer[error]    // why the request was not sent
	tls                           atomic.Pointer[tls.Conn] // the connection, if it is of TLS
}

// newTrace returns a trace. Transports of Caddy's http kind report by themselves; of
// others only the dialer does.
func newTrace(reports bool) *trace {
	t := new(trace)
	if !reports {
		t.hooks.DNSStart = func(httptrace.DNSStartInfo) { t.asked.Store(true) }
		t.hooks.ConnectStart = func(string, string) { t.asked.Store(true) }
		t.hooks.ConnectDone = func(_, _ string, err error) {
			switch {
			case err == nil:
				t.sent.Store(true)
			case ours(err):
				t.short.Store(true)
			}
		}
		return t
	}
	t.hooks.GetConn = func(string) { t.asked.Store(true) }
	// Not the hooks of connections: each attempt of the proxy would wrap them anew.
	t.hooks.TLSHandshakeStart = func() { t.handshake.Store(true) }
	t.hooks.GotConn = func(info httptrace.GotConnInfo) {
		t.ready.Store(true)
		if c, ok := info.Conn.(*tls.Conn); ok {
			t.tls.Store(c)
		}
	}
	t.hooks.WroteHeaders = func() { t.sent.Store(true) }
	t.hooks.WroteRequest = func(info httptrace.WroteRequestInfo) {
		if err := info.Err; err != nil {
			t.refuse(err)
		}
	}
	return t
}

// refuse notes why the request was not sent. On its own, so that requests which are
// sent allocate nothing for it.
func (t *trace) refuse(err error) { t.refused.Store(&err) }

// reset begins another attempt.
func (t *trace) reset() {
	t.asked.Store(false)
	t.handshake.Store(false)
	t.ready.Store(false)
	t.sent.Store(false)
	t.short.Store(false)
	t.refused.Store(nil)
	t.tls.Store(nil)
}

// stream reports whether TLS has chosen HTTP/2.
func (t *trace) stream() bool {
	if t == nil {
		return false
	}
	c := t.tls.Load()
	return c != nil && c.ConnectionState().NegotiatedProtocol == "h2"
}

// failure returns why an attempt failed. Where nothing was reported there was no
// connection attempt, or nobody knows, and a client may have brought that about.
func (t *trace) failure() failure {
	switch {
	case t == nil || t.sent.Load():
		return failureReset
	case t.ready.Load():
		// Either the request can't be sent as it is, or the connection broke on the
		// way, which only HTTP/1 tells.
		if err := t.refused.Load(); err != nil {
			return classify(*err)
		}
		return failureOther
	case t.handshake.Load():
		return failureTLS
	case t.asked.Load() && !t.short.Load() && !shortage():
		return failureDial
	}
	return failureOther
}
