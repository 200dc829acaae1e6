package edgetunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

func init() {
	caddy.RegisterModule(new(Upstreams))
}

// Upstreams are the agents that serve a backend, one upstream for each. It needs the
// transport of the same name.
type Upstreams struct {
	// Backend is the name of the backend. It may have placeholders.
	Backend string `json:"backend"`
	// Name is that of the handler which has let the agents in. Default: default.
	Name string `json:"name,omitempty"`
	// Wait is how long a request waits for an agent when there is none, up to 1m.
	// Default: it does not.
	Wait caddy.Duration `json:"wait,omitempty"`

	registry *poolref.Ref[*registry]
}

// longestWait is that of Wait.
const longestWait = time.Minute

// CaddyModule returns the Caddy module information.
func (*Upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams." + directive,
		New: func() caddy.Module { return new(Upstreams) },
	}
}

// Provision checks the options.
func (u *Upstreams) Provision(ctx caddy.Context) error {
	if err := u.check(ctx); err != nil {
		return fmt.Errorf("dynamic %s: %w", directive, err)
	}
	var err error
	u.registry, _, err = join(ctx)
	return err
}

// checkOptions checks what can be without a config around.
func (u *Upstreams) checkOptions() error {
	if u.Backend == "" {
		return errors.New("the name of the backend is missing")
	}
	if u.Name != "" {
		if err := wire.CheckName(u.Name); err != nil {
			return fmt.Errorf("name: %w", err)
		}
	}
	if !strings.Contains(u.Backend, "{") {
		if err := wire.CheckName(u.Backend); err != nil {
			return err
		}
	}
	if d := time.Duration(u.Wait); d < 0 || d > longestWait {
		return fmt.Errorf("wait: invalid duration %s: must be %s at most", d, longestWait)
	}
	return nil
}

func (u *Upstreams) check(ctx caddy.Context) error {
	if err := u.checkOptions(); err != nil {
		return err
	}
	for _, m := range ctx.Modules() {
		h, ok := m.(*reverseproxy.Handler)
		if !ok {
			continue
		}
		if _, ok := h.Transport.(*Transport); !ok {
			return fmt.Errorf("the reverse_proxy needs \"transport %s\"", directive)
		}
	}
	return nil
}

// Cleanup releases what the module shares.
func (u *Upstreams) Cleanup() error {
	if u.registry == nil {
		return nil
	}
	return u.registry.Release()
}

// GetUpstreams implements reverseproxy.UpstreamSource. Without an agent there is one
// upstream, which the transport refuses for.
func (u *Upstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	name := u.Backend
	if strings.Contains(name, "{") {
		repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		if repl == nil {
			return nil, errors.New("no placeholders are known")
		}
		if name = strings.ToLower(repl.ReplaceAll(name, "")); wire.CheckName(name) != nil {
			name = nobody // a client may have chosen it
		}
	}
	h := u.registry.Value().hub
	handler := cmp.Or(u.Name, hub.DefaultHandler)
	routes := h.Routes(handler, name)
	if len(routes) == 0 && u.Wait > 0 && name != nobody {
		ctx, cancel := context.WithDeadline(r.Context(), u.until(r))
		defer cancel()
		routes = h.Wait(ctx, handler, name)
	}
	if len(routes) == 0 {
		return []*reverseproxy.Upstream{{Dial: absent}}, nil
	}
	// The proxy writes to them, so they can't be kept.
	all := make([]reverseproxy.Upstream, len(routes))
	upstreams := make([]*reverseproxy.Upstream, len(routes))
	for i, route := range routes {
		all[i].Dial = route.Dial
		upstreams[i] = &all[i]
	}
	return upstreams, nil
}

// waitKey is where the end of a request's wait is among Caddy's variables.
const waitKey = "edge_tunnel.wait_until"

// until is when a request has waited for long enough, with all its attempts.
func (u *Upstreams) until(r *http.Request) time.Time {
	if t, ok := caddyhttp.GetVar(r.Context(), waitKey).(time.Time); ok {
		return t
	}
	t := time.Now().Add(time.Duration(u.Wait))
	caddyhttp.SetVar(r.Context(), waitKey, t)
	return t
}

// absent is the address of an upstream that stands for nobody.
var absent = dialOf(nobody + ".none:1")

// Interface guards
var (
	_ caddy.Provisioner           = (*Upstreams)(nil)
	_ caddy.CleanerUpper          = (*Upstreams)(nil)
	_ reverseproxy.UpstreamSource = (*Upstreams)(nil)
)
