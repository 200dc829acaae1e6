package edgetunnel

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"golang.org/x/net/http/httpguts"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/poolref"
	"github.com/caddyedge/caddy-edge/internal/upstreamhint"
)

func init() {
	caddy.RegisterModule(new(Transport))
}

// Transport sends requests through the tunnel.
type Transport struct {
	// AcceptTimeout is how long an agent may take to connect to its backend. Default: 10s.
	AcceptTimeout caddy.Duration `json:"accept_timeout,omitempty"`
	// ResponseHeaderTimeout is how long the header of the response may take when the
	// request has been sent. Default: for ever; edge_breaker has a timeout of its own.
	ResponseHeaderTimeout caddy.Duration `json:"response_header_timeout,omitempty"`
	// ForwardUser tells the backend who the user is.
	ForwardUser *ForwardUser `json:"forward_user,omitempty"`
	// StripCredentials takes Authorization, Cookie and Proxy-Authorization out of the
	// requests.
	StripCredentials bool `json:"strip_credentials,omitempty"`

	registry *poolref.Ref[*registry]
}

// ForwardUser sets a header field to who the user is. What a client sends in it is taken
// out.
type ForwardUser struct {
	// Header is the field. Default: X-Forwarded-User.
	Header string `json:"header,omitempty"`
	// Value is the user, with placeholders. Default: {http.auth.user.id}.
	Value string `json:"value,omitempty"`
}

// Defaults of Transport.
const (
	defaultAcceptTimeout = 10 * time.Second
	defaultUserHeader    = "X-Forwarded-User"
	defaultUserValue     = "{http.auth.user.id}"
	longestTimeout       = 24 * time.Hour
)

// CaddyModule returns the Caddy module information.
func (*Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport." + directive,
		New: func() caddy.Module { return new(Transport) },
	}
}

// Provision checks the options.
func (t *Transport) Provision(ctx caddy.Context) error {
	if err := t.check(ctx); err != nil {
		return fmt.Errorf("transport %s: %w", directive, err)
	}
	var err error
	t.registry, _, err = join(ctx)
	return err
}

// checkOptions fills the defaults in and checks what can be without a config around.
func (t *Transport) checkOptions() error {
	orDefault(&t.AcceptTimeout, caddy.Duration(defaultAcceptTimeout))
	for name, d := range map[string]caddy.Duration{"accept_timeout": t.AcceptTimeout, "response_header_timeout": t.ResponseHeaderTimeout} {
		if d < 0 || time.Duration(d) > longestTimeout {
			return fmt.Errorf("%s: invalid duration %s: must be from 0s to %s", name, time.Duration(d), longestTimeout)
		}
	}
	if u := t.ForwardUser; u != nil {
		orDefault(&u.Header, defaultUserHeader)
		orDefault(&u.Value, defaultUserValue)
		if !httpguts.ValidHeaderFieldName(u.Header) {
			return fmt.Errorf("forward_user: invalid header field %q", u.Header)
		}
		u.Header = http.CanonicalHeaderKey(u.Header)
	}
	return nil
}

func (t *Transport) check(ctx caddy.Context) error {
	if err := t.checkOptions(); err != nil {
		return err
	}
	for _, m := range ctx.Modules() {
		h, ok := m.(*reverseproxy.Handler)
		if !ok {
			continue
		}
		for _, up := range h.Upstreams {
			if !strings.HasPrefix(up.Dial, wire.Network+"/") {
				return fmt.Errorf("the upstream %s is no agent: want \"dynamic %s NAME\"", up.Dial, directive)
			}
		}
	}
	return nil
}

// Cleanup releases what the module shares.
func (t *Transport) Cleanup() error {
	if t.registry == nil {
		return nil
	}
	return t.registry.Release()
}

// retryLater is the Retry-After of a response without an agent, in seconds.
const retryLater = 5

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	info, ok := reverseproxy.GetDialInfo(r.Context())
	if !ok {
		return nil, errors.New("the proxy has chosen no upstream")
	}
	if strings.HasPrefix(info.Address, nobody+".") {
		closeBody(r)
		collectors().absent.Inc()
		return unavailable(r), nil
	}
	route := t.registry.Value().hub.Route(info.Address)
	if route == nil {
		closeBody(r)
		upstreamhint.Pass(r.Context())
		return nil, dialError{hub.NotTakenError{Status: wire.Draining}, info.Address}
	}
	resp, err := route.RoundTrip(t.prepare(r), clientOf(r), hub.Timeouts{Accept: time.Duration(t.AcceptTimeout), Header: time.Duration(t.ResponseHeaderTimeout)})
	if notTaken, ok := errors.AsType[hub.NotTakenError](err); ok {
		switch notTaken.Status {
		case wire.Draining, wire.Overloaded, wire.Unknown: // nothing is wrong with the backend
			upstreamhint.Pass(r.Context())
		default:
		}
		return nil, dialError{notTaken, info.Address}
	}
	return resp, err
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // nothing was read
	}
}

// prepare changes a copy of a request as the options say.
func (t *Transport) prepare(r *http.Request) *http.Request {
	if !t.StripCredentials && t.ForwardUser == nil {
		return r
	}
	copied := *r
	copied.Header = r.Header.Clone()
	strip := func(name string) {
		copied.Header.Del(name)
		copied.Trailer.Del(name)
	}
	if t.StripCredentials {
		for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
			strip(name)
		}
	}
	if u := t.ForwardUser; u != nil {
		strip(u.Header)
		if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			if user := repl.ReplaceAll(u.Value, ""); user != "" && httpguts.ValidHeaderFieldValue(user) {
				copied.Header.Set(u.Header, user)
			}
		}
	}
	return &copied
}

// unavailable is the response when there is no agent.
func unavailable(r *http.Request) *http.Response {
	const text = "The service is not available at the moment.\n"
	return &http.Response{
		Status: "503 " + http.StatusText(http.StatusServiceUnavailable), StatusCode: http.StatusServiceUnavailable,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{
			"Retry-After": {strconv.Itoa(retryLater)}, "Content-Type": {"text/plain; charset=utf-8"},
			"Cache-Control": {"no-store"}, "Content-Length": {strconv.Itoa(len(text))},
		},
		ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text)),
	}
}

// dialError is that of a request that nobody has got: the proxy may ask another agent,
// whatever the method.
type dialError struct {
	hub.NotTakenError
	address string
}

// Error implements error.
func (e dialError) Error() string {
	return wire.Network + "/" + e.address + ": " + e.NotTakenError.Error()
}

// Unwrap returns what happened.
func (e dialError) Unwrap() error { return e.NotTakenError }

// As implements what errors.As asks for.
func (e dialError) As(target any) bool {
	switch t := target.(type) {
	case *reverseproxy.DialError:
		*t = reverseproxy.NewDialError(e.NotTakenError)
		return true
	case *caddyhttp.HandlerError:
		// Nothing is broken where there is only no room.
		if e.Status == wire.Overloaded || e.Status == wire.Draining {
			*t = caddyhttp.HandlerError{Err: errors.New(e.Error()), StatusCode: http.StatusServiceUnavailable}
			return true
		}
	}
	return false
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Transport)(nil)
	_ caddy.CleanerUpper = (*Transport)(nil)
	_ http.RoundTripper  = (*Transport)(nil)
)
