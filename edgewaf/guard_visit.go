package edgewaf

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgewaf/requestid"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// visit is one request on its way through the guard.
type visit struct {
	guard  *Guard
	r      *http.Request
	writer guardWriter
	body   *guardBody // nil: the body needs no watching
	client netip.Addr // zero: there is none
	id     string     // empty: this guard gives none
	// close: the connection must not be used again.
	close bool

	*findings
	own findings // the first guard's
}

// findings are what all guards of a request have in common.
type findings struct {
	id      string // empty: no guard gives one
	refused check  // for which the request was refused
	shadow  string // the checks in shadow mode, for the access log
	latest  *visit
}

// findingsVar is their place in Caddy's table of request variables.
const findingsVar = "edge_guard.findings"

func newVisit(g *Guard, w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{guard: g, r: r, client: clientAddr(r)}
	v.writer = guardWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, visit: v}
	var further bool
	if v.findings, further = caddyhttp.GetVar(r.Context(), findingsVar).(*findings); !further {
		v.own.refused = noCheck
		v.findings = &v.own
		caddyhttp.SetVar(r.Context(), findingsVar, v.findings)
	}
	v.latest = v
	v.identify()
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok && !further {
		repl.Map(v.placeholder)
	}
	if g.MaskClient {
		reqinfo.Log(r.Context(), "edge_guard_client", v.masked())
	}
	return v
}

// identify gives the request its id.
func (v *visit) identify() {
	g := v.guard
	if g.RequestID == RequestIDOff {
		return
	}
	// Where there are two guards the first one has decided.
	if v.id = v.findings.id; v.id != "" {
		v.r.Header[g.RequestIDHeader] = []string{v.id}
		return
	}
	if sent := v.r.Header[g.RequestIDHeader]; g.RequestID == RequestIDAccept && len(sent) == 1 && requestid.Valid(sent[0]) && v.trusted() {
		v.id = sent[0]
	} else {
		v.id = requestid.New(g.version, time.Now())
		v.r.Header[g.RequestIDHeader] = []string{v.id}
	}
	v.findings.id = v.id
	reqinfo.Log(v.r.Context(), "edge_guard_request_id", v.id)
}

// trusted reports whether the peer is one of the server's trusted proxies.
func (v *visit) trusted() bool {
	trusted, _ := caddyhttp.GetVar(v.r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// placeholder resolves {http.edge_guard.*}.
func (f *findings) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.edge_guard.")
	if !ok {
		return nil, false
	}
	switch name {
	case "request_id":
		return f.id, true
	case "client_masked":
		return f.latest.masked(), true
	case "check":
		if f.refused == noCheck {
			return "", true
		}
		return f.refused.String(), true
	}
	return nil, false
}

// masked returns the network of the client, so that it is not known who it is.
func (v *visit) masked() string {
	a := v.client
	if !a.IsValid() {
		return ""
	}
	bits := v.guard.MaskIPv6
	if a.Is4() {
		bits = v.guard.MaskIPv4
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.Addr().String()
}

// clientAddr returns the client's address as Caddy determined it, the zero address if
// there is none.
func clientAddr(r *http.Request) netip.Addr {
	s, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if !ok {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		s = host
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// finish ends a request that was handed on.
func (v *visit) finish(err error) error {
	if v.writer.hijacked {
		return err
	}
	if b := v.body; b != nil {
		if b.exceeded.Load() {
			switch {
			case !b.enforce:
			case !v.writer.wrote:
				v.close = true
				return v.refuse(checkBodySize)
			case !v.writer.replaced: // what was sent is about a part of the body
				panic(http.ErrAbortHandler)
			default:
				return nil // the refusal is the response, whatever the handlers behind say
			}
		}
		if b.failed.Load() && v.r.ProtoMajor == 1 && v.level(checkFraming) == levelEnforce {
			// Where the next request begins is not known.
			v.close = true
			if v.writer.wrote {
				_ = http.NewResponseController(v.writer.ResponseWriter).Flush()
				panic(http.ErrAbortHandler)
			}
		}
	}
	v.linger()
	if !v.writer.wrote {
		// Error routes, and net/http for who writes nothing, do so in front of this writer.
		v.fields(v.writer.Header())
	}
	return err
}

// reportBody tells of a body that turned out too large.
func (v *visit) reportBody() {
	b := v.body
	if b == nil || !b.exceeded.Load() {
		return
	}
	if b.enforce {
		v.refused = checkBodySize
		v.report(checkBodySize, actionRefused)
	} else {
		v.report(checkBodySize, actionShadow)
	}
}

// linger has net/http leave the client the time to read the response when the connection
// is closed behind a body that nobody has read to its end. Else the rest of it would reset
// the connection, and the client might not see why. The body is not closed here: that
// waits for the client, who may be waiting for the response.
func (v *visit) linger() {
	if !v.close || v.r.ProtoMajor != 1 || v.r.Body == nil || v.body != nil && v.body.ended.Load() {
		return
	}
	// The only way to tell net/http is a body that is too large for its own reader.
	_, _ = http.MaxBytesReader(innermost(v.writer.ResponseWriter), io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 2))
}

// innermost returns the writer of net/http.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// address is the client's as bytes, all zero if there is none.
func (v *visit) address() (b [16]byte) {
	if v.client.IsValid() {
		b = v.client.As16()
	}
	return b
}
