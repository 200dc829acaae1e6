package edgewaf

import (
	"cmp"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/crs"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

func init() {
	caddy.RegisterModule(Firewall{})
}

// Firewall holds requests, and responses where that is wanted, against rules: packs of
// rules in YAML, Caddy's matchers, and the OWASP Core Rule Set. Without any option the
// pack basic and the Core Rule Set at paranoia level 1 are in force.
type Firewall struct {
	// Name identifies the firewall in the admin API and the log: letters, digits, "-",
	// "_" and ".". Handlers of one name share their counters, the latest events, and
	// what an operator sets at run time, and must be defined alike. Default: default.
	Name string `json:"name,omitempty"`

	// Mode is what is done with requests that rules block: "enforce" refuses them,
	// "shadow" only tells of them, "off" looks at none. Default: enforce.
	Mode Mode `json:"mode,omitempty"`

	// Sample is how many of 100 requests are looked at, more than 0. The others are
	// handed on. Default: 100.
	Sample float64 `json:"sample,omitempty"`

	// CRS sets up the OWASP Core Rule Set. Default: in force with its defaults.
	CRS *crs.Options `json:"crs,omitempty"`

	// Packs are files of rules in YAML. "*" stands for part of a name.
	Packs []string `json:"packs,omitempty"`
	// Basic says whether the built-in pack basic is used: "on" or "off". Default: on.
	Basic string `json:"basic,omitempty"`
	// Downgrade lets a pack replace a running one of a higher version. Default: false.
	Downgrade bool `json:"downgrade,omitempty"`

	// Files is a hash of the files of rules that the Caddyfile adapter adds, so that Caddy
	// takes a configuration for another one when a file has changed. It has no other use.
	Files string `json:"files,omitempty"`

	// Rules are rules by Caddy's matchers.
	Rules []*MatcherRule `json:"rules,omitempty"`

	// Body says how the content of requests is looked at.
	Body BodyOptions `json:"body,omitzero"`
	// Response has the content of responses looked at. Default: it is not.
	Response *ResponseOptions `json:"response,omitempty"`

	// Budget is the most work that a request may be: bytes times rules. -1 is any.
	// Default: DefaultBudget.
	Budget int64 `json:"budget,omitempty"`
	// OnBudget says what is done with requests that would be more: "reject" refuses them
	// with 413, "pass" hands them on without the Core Rule Set. Default: reject.
	OnBudget string `json:"on_budget,omitempty"`

	// Status is that of refusals, 400 to 599. Default: 403.
	Status int `json:"status,omitempty"`
	// Respond says who writes a refusal: "direct" this handler, "error" the server's
	// error routes (handle_errors), "auto" the error routes if there are any. Default:
	// auto.
	Respond string `json:"respond,omitempty"`

	// Keep is how many of the latest events the admin API has. Default: 1000.
	Keep int `json:"keep,omitempty"`
	// LogRate is how many events go to the log in a second at most; the others are
	// counted. Default: 200.
	LogRate int `json:"log_rate,omitempty"`
	// Notice is the least time between two Caddy events about one client and one rule.
	// Default: 1m.
	Notice caddy.Duration `json:"notice,omitempty"`

	level level
	rules ruleSet
	// responses are Response, or its defaults where a pack looks into content.
	responses *ResponseOptions
	engine    *poolref.Ref[*rulesEngine] // nil: no Core Rule Set and no included files
	core      []*crs.Removal             // of every request
	// structured takes out the rule about content types, for types that the firewall reads.
	structured *crs.Removal
	choices    []choice // of some requests
	purgers    *purgers
	ref        *poolref.Ref[*wafState]
	state      *wafState
	logger     *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Firewall) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_waf",
		New: func() caddy.Module { return new(Firewall) },
	}
}

// Provision checks the options, compiles the rules, and joins what outlives
// configurations.
func (f *Firewall) Provision(ctx caddy.Context) error {
	f.logger = ctx.Logger()
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	named := func(err error) error { return fmt.Errorf("edge_waf %s: %w", cmp.Or(f.Name, DefaultName), err) }
	if err := f.provisionOptions(); err != nil {
		return named(err)
	}
	if err := f.claim(app); err != nil {
		return err
	}
	if err := f.provision(ctx, app); err != nil {
		return named(err)
	}
	return f.need(ctx, app)
}

// provision compiles the rules of a firewall with valid options.
func (f *Firewall) provision(ctx caddy.Context, app *edgeapp.App) (err error) {
	f.purgers = &purgers{app: app}
	if err := registerWafMetrics(ctx); err != nil {
		return err
	}
	if err := f.provisionRules(ctx); err != nil {
		return err
	}
	if f.ref, err = firewalls.Take(f.Name, newWafState(f.Name)); err != nil {
		return err
	}
	f.state = f.ref.Value()
	if err := f.checkVersions(); err != nil {
		return err
	}
	app.OnStart(func() error {
		f.state.start(f)
		return nil
	})
	return nil
}

// Cleanup leaves the state and the rules to later configurations, if there are any.
func (f *Firewall) Cleanup() error {
	if f.state != nil {
		f.state.leave(f)
	}
	err := f.ref.Release()
	if e := f.engine.Release(); e != nil {
		err = e
	}
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (f *Firewall) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	level := f.effective()
	if level == levelOff || !f.sampled() || f.purgers.purges(r, clientAddr(r)) {
		show(r, nil)
		return next.ServeHTTP(w, r)
	}
	i, err := f.newInspection(w, r, level)
	if err != nil {
		return err
	}
	if i.skip {
		show(r, nil)
		f.state.outcome(outcomeSkipped)
		return next.ServeHTTP(w, r)
	}
	defer i.close()
	if refused, err := i.request(); refused {
		return err
	}
	return i.serve(next)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Firewall)(nil)
	_ caddy.CleanerUpper          = (*Firewall)(nil)
	_ caddyhttp.MiddlewareHandler = (*Firewall)(nil)
	_ edgeapp.GuardNode           = (*Firewall)(nil)
)
