package edgelimit

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

func init() {
	caddy.RegisterModule(Limit{})
}

// Limit holds clients to rates and to numbers of concurrent requests, by zones.
// Without any option it allows each client address 100 requests per second and
// 200 at once.
//
// All zones that concern a request are looked at first and charged only if none
// refuses it.
type Limit struct {
	// Zones are the limits. Default: one named default, of 100/s.
	Zones []*Zone `json:"zones,omitempty"`

	// Rules is a YAML file of rate-limit rules, imported as more zones.
	// Default: none.
	Rules string `json:"rules,omitempty"`

	// Mode is that of the zones without one: "enforce", "shadow" or "off".
	// Default: enforce.
	Mode Mode `json:"mode,omitempty"`

	Refusal

	// Notice is the least time between two log lines and events about one
	// client of one zone. Default: 1m.
	Notice caddy.Duration `json:"notice,omitempty"`

	notices *gcra.Limit
	refs    []*poolref.Ref[*state]
	logger  *zap.Logger
	// after: some zones count by the status of the response.
	after    bool
	demanded bool // a zone is charged on demand
}

// CaddyModule returns the Caddy module information.
func (Limit) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_limit",
		New: func() caddy.Module { return new(Limit) },
	}
}

// Provision checks the zones and joins their state.
func (l *Limit) Provision(ctx caddy.Context) error {
	l.logger = ctx.Logger()
	if err := l.provisionOptions(); err != nil {
		return err
	}
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	if err := registerMetrics(ctx); err != nil {
		return err
	}
	for _, z := range l.Zones {
		if err := l.provisionZone(ctx, app, z); err != nil {
			return err
		}
	}
	return nil
}

// Cleanup leaves the zones' state to later configurations, if there are any.
func (l *Limit) Cleanup() error {
	var err error
	for _, ref := range l.refs {
		ref.Value().leave()
		if e := ref.Release(); e != nil {
			err = e
		}
	}
	for _, z := range l.Zones {
		if z.shared == nil {
			continue
		}
		if e := z.shared.leave(); e != nil {
			err = e
		}
	}
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *Limit) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	now := gcra.Now()
	var room [4]claim
	claims := room[:0]
	if l.demanded {
		reqinfo.AddCharger(r, l)
	}
	for _, z := range l.Zones {
		if z.OnDemand {
			continue
		}
		var err error
		if claims, err = z.claim(claims, r); err != nil {
			return err
		}
	}
	if len(claims) == 0 {
		return next.ServeHTTP(w, r)
	}
	defer leave(claims) // whatever panics
	if d := l.admit(claims, r, now); d.zone != nil {
		return l.refuse(w, r, d)
	}
	if l.Fields == FieldsAlways {
		l.tell(w.Header(), claims)
	}
	if l.after {
		return l.serveCounted(w, r, next, claims)
	}
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Limit)(nil)
	_ caddy.CleanerUpper          = (*Limit)(nil)
	_ caddyhttp.MiddlewareHandler = (*Limit)(nil)
)
