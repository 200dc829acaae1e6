package edgelimit

import (
	"fmt"
	"hash/maphash"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddyedge/caddy-edge/edgelimit/adaptive"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// provision checks the options and fills in the defaults.
func (a *Adaptive) provision(ctx caddy.Context) error {
	if a.Name == "" {
		a.Name = DefaultName
	}
	if !validName(a.Name) {
		return fmt.Errorf("edge_adaptive: name: invalid value %q: want letters, digits, dots, - and _", a.Name)
	}
	if a.Status == 0 {
		a.Status = http.StatusServiceUnavailable
	}
	if a.Status != http.StatusServiceUnavailable && a.Status != http.StatusTooManyRequests {
		return fmt.Errorf("edge_adaptive: status: invalid value %d: want 503 or 429", a.Status)
	}
	var err error
	if a.keyer, err = parseKey(orDefault(a.Key, DefaultKey), DefaultIPv4Prefix, DefaultIPv6Prefix); err != nil {
		return fmt.Errorf("edge_adaptive: key: %w", err)
	}
	for i, p := range a.Priorities {
		if err := p.provision(ctx); err != nil {
			return fmt.Errorf("edge_adaptive: priority %d: %w", i+1, err)
		}
	}
	if a.PriorityHeader != "" {
		if !httpguts.ValidHeaderFieldName(a.PriorityHeader) {
			return fmt.Errorf("edge_adaptive: priority_header: invalid value %q: want the name of a field", a.PriorityHeader)
		}
		a.PriorityHeader = http.CanonicalHeaderKey(a.PriorityHeader)
	}
	return a.provisionMode()
}

// provisionMode checks the options that depend on the mode.
func (a *Adaptive) provisionMode() (err error) {
	switch a.Mode {
	case "", ModeInflight:
		a.Mode = ModeInflight
		err = a.config(nil).Validate()
		if r := a.Rate; r != nil {
			err = onlyIn(ModeRate, []given{
				{"interval", r.Interval != 0, time.Duration(r.Interval)}, {"reduction", r.Reduction != 0, r.Reduction},
				{"recovery", r.Recovery != 0, r.Recovery}, {"recover_below", true, r.RecoverBelow},
			})
		}
	case ModeRate:
		if err := onlyIn(ModeInflight, []given{
			{"baseline", a.Baseline != 0, a.Baseline}, {"uploads", a.Uploads != 0, a.Uploads}, {"streams", a.Streams != 0, a.Streams},
			{"queue", a.Queue != 0 || a.QueueDeadline != 0, a.Queue}, {"fair_share", a.FairShareOff, "off"}, {"key", a.Key != "", a.Key},
			{"priority", len(a.Priorities) > 0, len(a.Priorities)}, {"priority_header", a.PriorityHeader != "", a.PriorityHeader},
		}); err != nil {
			return fmt.Errorf("edge_adaptive: %w", err)
		}
		err = a.rateConfig(nil).Validate()
	default:
		return fmt.Errorf("edge_adaptive: mode: unknown value %q: want inflight or rate", a.Mode)
	}
	if err != nil {
		return fmt.Errorf("edge_adaptive: %w", err)
	}
	return nil
}

// given is an option, whether it was given, and its value.
type given struct {
	option string
	is     bool
	value  any
}

// onlyIn is the error about the first option that was given in another mode than
// the one that has it.
func onlyIn(mode string, options []given) error {
	for _, o := range options {
		if o.is {
			return fmt.Errorf("%s: %v: only in mode %s", o.option, o.value, mode)
		}
	}
	return nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// config returns the options of mode inflight for the core.
func (a *Adaptive) config(c *control) adaptive.Config {
	return adaptive.Config{
		Target: time.Duration(a.P95), BaselineFactor: a.Baseline, Min: a.Min, Max: a.Max, Initial: a.Initial,
		Uploads: a.Uploads, Streams: a.Streams, NoFairShare: a.FairShareOff,
		QueueSize: a.Queue, QueueDeadline: time.Duration(a.QueueDeadline),
		OnChange: func(ch adaptive.Change) { c.announce(ch.From.String(), ch.To.String(), ch.Limit, ch.P95) },
	}
}

// rateConfig returns the options of mode rate for the core.
func (a *Adaptive) rateConfig(c *control) adaptive.RateConfig {
	cfg := adaptive.RateConfig{
		Threshold: time.Duration(a.P95), Min: float64(a.Min), Max: float64(a.Max), Initial: float64(a.Initial),
		OnChange: func(ch adaptive.RateChange) { c.announce(ch.From.String(), ch.To.String(), int(ch.Rate), ch.P95) },
	}
	if r := a.Rate; r != nil {
		cfg.Interval, cfg.Reduction, cfg.Recovery, cfg.RecoverBelow = time.Duration(r.Interval), r.Reduction, r.Recovery, r.RecoverBelow
	}
	return cfg
}

func (p *Priority) provision(ctx caddy.Context) error {
	var ok bool
	if p.class, ok = adaptive.ParseClass(p.Class); !ok {
		return fmt.Errorf("unknown class %q: want high, normal, low or background", p.Class)
	}
	if p.MatcherSetsRaw == nil {
		return nil
	}
	sets, err := ctx.LoadModule(p, "MatcherSetsRaw")
	if err != nil {
		return fmt.Errorf("loading matchers: %w", err)
	}
	return p.matchers.FromInterface(sets)
}

// class returns the priority of a request.
func (a *Adaptive) class(r *http.Request) (adaptive.Class, error) {
	if _, ok := reqinfo.Peek(r).Get(reqinfo.Background); ok {
		return adaptive.Background, nil
	}
	for _, p := range a.Priorities {
		if len(p.matchers) == 0 {
			return p.class, nil
		}
		ok, err := p.matchers.AnyMatchWithError(r)
		if err != nil {
			return adaptive.Normal, err
		}
		if ok {
			return p.class, nil
		}
	}
	if a.PriorityHeader == "" {
		return adaptive.Normal, nil
	}
	class, _ := adaptive.ParseClass(r.Header.Get(a.PriorityHeader))
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	if !trusted && class != adaptive.Low {
		class = adaptive.Normal // nobody puts himself in front, or outside of the fair share
	}
	return class, nil
}

var clientSeed = maphash.MakeSeed()

// client returns a hash of what tells clients apart.
func (a *Adaptive) client(r *http.Request) uint64 {
	var room [keySize]byte
	return maphash.Bytes(clientSeed, a.keyer.append(room[:0], r))
}
