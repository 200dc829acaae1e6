package edgewaf

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/access"
	"github.com/caddyedge/caddy-edge/edgewaf/hop"
	"github.com/caddyedge/caddy-edge/edgewaf/requestid"
	"github.com/caddyedge/caddy-edge/edgewaf/target"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

func init() {
	caddy.RegisterModule(Guard{})
}

// Guard refuses requests that are malformed, ambiguous, too large, or from where nobody
// is wanted, and hands the others on in one form: a request target in its normal form
// (RFC 3986 section 6.2.2), a Connection field that nominates nothing (RFC 9110 section
// 7.6.1), and an id. Without any option all checks of the protocol are in force, and no
// access list.
type Guard struct {
	// Name identifies the guard in the admin API and the log: letters, digits, "-",
	// "_" and ".". Handlers of one name share what an operator sets at run time, and
	// must be defined alike. Default: default.
	Name string `json:"name,omitempty"`

	// Mode is the most that any check does: "enforce", "shadow" or "off". Default:
	// enforce.
	Mode Mode `json:"mode,omitempty"`

	// Checks are modes of single checks by their ids. Default: enforce, but shadow for
	// path_parameter and off for query_encoding.
	Checks map[string]Mode `json:"checks,omitempty"`

	Access

	// Methods are those that are allowed. Default: GET, HEAD, POST, PUT, PATCH, DELETE
	// and OPTIONS. WebSockets over HTTP/2 and HTTP/3 count as GET. PURGE need not be
	// named: it is allowed for the clients that an edge_cache behind the guard names.
	Methods []string `json:"methods,omitempty"`

	// MaxFields is how many header fields a request may have, at least 1. Default: 128.
	MaxFields int `json:"max_fields,omitempty"`
	// MaxFieldSize is how many bytes they may have together, with their names and 4
	// bytes for each. Default: 65536. Caddy's max_header_size (1 MiB) goes first.
	MaxFieldSize int64 `json:"max_field_size,omitempty"`
	// MaxURI is how many bytes the request target may have. Default: 16384.
	MaxURI int64 `json:"max_uri,omitempty"`
	// MaxBody is how many bytes the content may have, however it is framed. Default:
	// any number.
	MaxBody int64 `json:"max_body,omitempty"`

	// Hosts are the names that may be in Host; "*." in front stands for one label.
	// Default: any valid name.
	Hosts []string `json:"hosts,omitempty"`

	// DotSegments resolves "." and ".." in the path (RFC 3986 section 5.2.4) instead of
	// leaving the former and refusing the latter. Default: false.
	DotSegments bool `json:"dot_segments,omitempty"`
	// MergeSlashes makes one slash of several in the path. Default: false.
	MergeSlashes bool `json:"merge_slashes,omitempty"`

	// EndToEnd are more fields that clients can't have removed by nominating them in
	// Connection. Default: only the known ones.
	EndToEnd []string `json:"end_to_end,omitempty"`

	// Chunked says after which chunked requests of HTTP/1 the connection is closed:
	// "close" all, "trusted" all but those of trusted proxies. Default: close.
	Chunked string `json:"chunked,omitempty"`

	// RequestID says which ids requests get: "accept" that which a trusted proxy sent,
	// if it is valid, else a new one; "replace" always a new one; "off" none. Default:
	// accept.
	RequestID string `json:"request_id,omitempty"`
	// RequestIDVersion is the version of the UUIDs that are made (RFC 9562): 4 or 7.
	// Default: 4.
	RequestIDVersion int `json:"request_id_version,omitempty"`
	// RequestIDHeader is the field of the id, in requests and responses. Default:
	// X-Request-Id.
	RequestIDHeader string `json:"request_id_header,omitempty"`

	// MaskClient puts the masked address of the client into the access log, and masks
	// it in the log of the guard. Default: false.
	MaskClient bool `json:"mask_client,omitempty"`
	// MaskIPv4 and MaskIPv6 are how many bits of an address are left, at least 1.
	// Default: 24 and 48.
	MaskIPv4 int `json:"mask_ipv4,omitempty"`
	MaskIPv6 int `json:"mask_ipv6,omitempty"`

	// SecurityHeaders are fields for responses. Default: none.
	SecurityHeaders *SecurityHeaders `json:"security_headers,omitempty"`

	// Respond says who writes a refusal: "direct" this handler, "error" the server's
	// error routes (handle_errors), "auto" the error routes if there are any. Default:
	// auto.
	Respond string `json:"respond,omitempty"`

	// Notice is the least time between two log lines and events about one client and
	// one check. Default: 1m.
	Notice caddy.Duration `json:"notice,omitempty"`

	levels  [checks]level
	methods map[string]bool
	allow   string // the value of Allow
	hosts   map[string]bool
	target  target.Options
	hop     *hop.Policy
	version requestid.Version
	policy  *access.Policy // nil: no access lists
	warned  *atomic.Bool   // that addresses are the client's own say
	lists   []*poolref.Ref[*watch]
	ref     *poolref.Ref[*guardState]
	state   *guardState
	purgers *purgers
	logger  *zap.Logger
}

// Values of Chunked, RequestID and Respond.
const (
	ChunkedClose   = "close"
	ChunkedTrusted = "trusted"

	RequestIDAccept  = "accept"
	RequestIDReplace = "replace"
	RequestIDOff     = "off"

	RespondAuto   = "auto"
	RespondDirect = "direct"
	RespondError  = "error"
)

// CaddyModule returns the Caddy module information.
func (Guard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_guard",
		New: func() caddy.Module { return new(Guard) },
	}
}

// Provision checks the options, reads the lists, and joins what outlives configurations.
func (g *Guard) Provision(ctx caddy.Context) error {
	g.logger, g.warned = ctx.Logger(), new(atomic.Bool)
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	g.purgers = &purgers{app: app}
	if err := g.provisionOptions(); err != nil {
		return err
	}
	if err := g.claim(app); err != nil {
		return err
	}
	if err := registerGuardMetrics(ctx); err != nil {
		return err
	}
	if err := g.provisionAccess(); err != nil {
		return err
	}
	if g.ref, err = guards.Take(g.Name, newGuardState(g.Name)); err != nil {
		return err
	}
	g.state = g.ref.Value()
	app.OnStart(func() error {
		g.state.running.Store(g)
		return nil
	})
	return nil
}

// Cleanup leaves the state and the lists to later configurations, if there are any.
func (g *Guard) Cleanup() error {
	var err error
	if g.state != nil {
		g.state.leave()
	}
	if e := g.ref.Release(); e != nil {
		err = e
	}
	for _, ref := range g.lists {
		if e := ref.Release(); e != nil {
			err = e
		}
	}
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	v := newVisit(g, w, r)
	if v.unverified() {
		v.tidy()
		return v.finish(caddyhttp.Error(http.StatusTooEarly, errUnverified))
	}
	if c := v.inspect(); c != noCheck {
		return v.refuse(c)
	}
	defer v.reportBody() // also when a handler behind breaks the response off
	defer func() {
		// A proxy does so when it finds that nobody takes its response. The one in its
		// place is whole.
		if v.writer.replaced {
			p := recover()
			if err, _ := p.(error); p != nil && !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			v.linger()
		}
	}()
	return v.finish(next.ServeHTTP(&v.writer, r))
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Guard)(nil)
	_ caddy.CleanerUpper          = (*Guard)(nil)
	_ caddyhttp.MiddlewareHandler = (*Guard)(nil)
	_ edgeapp.GuardNode           = (*Guard)(nil)
)
