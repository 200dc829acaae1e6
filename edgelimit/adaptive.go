package edgelimit

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgelimit/adaptive"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

func init() {
	caddy.RegisterModule(Adaptive{})
}

// Adaptive keeps the origin behind it from being overloaded: it bounds the
// requests in flight, by a limit that follows the P95 of the origin's latency,
// and above half of that limit gives each client a fair share. Without any option
// the P95 is held at 500 ms. It stands behind edge_cache, so that hits neither
// count nor are refused.
type Adaptive struct {
	// Name identifies the limit in the admin API, metrics and logs. Handlers
	// of one name share their limit, for one origin behind several sites, and
	// must have the same options. Default: default.
	Name string `json:"name,omitempty"`

	// Mode is "inflight", or "rate" for a rate of all clients together that is
	// moved at fixed intervals. Default: inflight.
	Mode string `json:"mode,omitempty"`

	// P95 is the latency that 95 % of the requests should not exceed, from the
	// end of the request to the header of the response; in mode rate the
	// threshold. At least five times the latency of the idle origin is sensible.
	// Default: 500ms.
	P95 caddy.Duration `json:"p95,omitempty"`
	// Baseline, if set, makes the target this multiple of the lowest median
	// latency of the long term, 2 to 1000. Only in mode inflight. Default: none.
	Baseline float64 `json:"baseline,omitempty"`
	// Min and Max bound the limit: requests in flight, in mode rate requests
	// per second. Default: 4 and 10000, in mode rate 10 and 500.
	Min int `json:"min,omitempty"`
	Max int `json:"max,omitempty"`
	// Initial is what the limit begins with. Default: 100, in mode rate Max.
	Initial int `json:"initial,omitempty"`

	// Uploads and Streams are how many requests whose body is slow to come, and
	// responses that last (WebSocket, server-sent events, long downloads), there
	// may be beside. Only in mode inflight. Default:
	// as many as the limit, at least 100; 10000.
	Uploads int `json:"uploads,omitempty"`
	Streams int `json:"streams,omitempty"`

	// FairShareOff lets the quickest have what there is. Default: false.
	FairShareOff bool `json:"fair_share_off,omitempty"`
	// Key tells clients apart for the fair share: text with placeholders.
	// Default: {http.vars.client_ip}, IPv6 by /64.
	Key string `json:"key,omitempty"`

	// Queue is how many requests may wait for their turn, QueueDeadline how
	// long; less when the queue does not get empty. Only in mode inflight.
	// Default: 0, none waits; 100ms.
	Queue         int            `json:"queue,omitempty"`
	QueueDeadline caddy.Duration `json:"queue_deadline,omitempty"`

	// Priorities give requests a class; the first match applies. Default: all
	// are normal, refreshes of edge_cache are background.
	Priorities []*Priority `json:"priorities,omitempty"`
	// PriorityHeader is a request field that names the class. Who is no trusted
	// proxy can only lower its class to low by it. Default: none.
	PriorityHeader string `json:"priority_header,omitempty"`

	// Rate holds the options that only mode rate has.
	Rate *RateOptions `json:"rate,omitempty"`

	// Status is that of a refusal: 503 or 429. Default: 503.
	Status int `json:"status,omitempty"`

	keyer   *keyer
	ref     *poolref.Ref[*control]
	control *control
	logger  *zap.Logger
}

// Priority gives a class to the requests that match.
type Priority struct {
	// Class is "high" (may exceed the limit by 10 %), "normal", "low" (80 % of
	// the limit) or "background" (half of the limit).
	Class string `json:"class"`
	// MatcherSetsRaw select the requests. Default: all.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	class    adaptive.Class
	matchers caddyhttp.MatcherSets
}

// RateOptions are those of mode rate.
type RateOptions struct {
	// Interval is the time between two evaluations. Default: 10s.
	Interval caddy.Duration `json:"interval,omitempty"`
	// Reduction is the factor when the P95 is above the threshold. Default: 0.8.
	Reduction float64 `json:"reduction,omitempty"`
	// Recovery is the factor when it is below the threshold times
	// RecoverBelow. Default: 1.1 and 0.7.
	Recovery     float64 `json:"recovery,omitempty"`
	RecoverBelow float64 `json:"recover_below,omitempty"`
}

// The modes of Adaptive.
const (
	ModeInflight = "inflight"
	ModeRate     = "rate"
)

// CaddyModule returns the Caddy module information.
func (Adaptive) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_adaptive",
		New: func() caddy.Module { return new(Adaptive) },
	}
}

// Provision checks the options and joins the limit.
func (a *Adaptive) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	definition, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := a.provision(ctx); err != nil {
		return err
	}
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	if err := app.Claim("edge_adaptive: "+a.Name, string(definition)); err != nil {
		return err
	}
	if err := registerAdaptiveMetrics(ctx); err != nil {
		return err
	}
	if a.ref, err = controls.Take(a.Mode+" "+a.Name, func() (*control, error) { return newControl(a) }); err != nil {
		return err
	}
	a.control = a.ref.Value()
	app.OnStart(func() error { return a.control.configure(a) })
	return nil
}

// Cleanup leaves the limit to later configurations, if there are any.
func (a *Adaptive) Cleanup() error { return a.ref.Release() }

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (a *Adaptive) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	admit := a.admitInflight
	if a.Mode == ModeRate {
		admit = a.admitRate
	}
	o, refused, err := admit(r)
	if err != nil {
		return err
	}
	if refused.reason != "" {
		return a.refuse(w, r, refused)
	}
	ow := &originWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, observer: o, connect: r.Method == http.MethodConnect,
		refuse: func(refusal adaptive.Refusal) {
			a.answer(w, r, turnedAway{refusal.Reason.String(), refusal.RetryAfter})
		},
	}
	if hasBody(r) {
		r.Body = newBody(r.Body, r.ContentLength, o)
	}
	return a.serve(ow, r, next)
}

// serve runs the next handlers and frees what the request holds, also when they
// panic. A proxy does, to abort the connection, when it can't send what it began;
// a refusal in its place is complete.
func (a *Adaptive) serve(w *originWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	defer func() {
		w.observer.Release(time.Now())
		if !w.refused {
			return
		}
		err = nil
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the panics' value
			panic(p)
		}
	}()
	if err = next.ServeHTTP(w, r); !w.wrote {
		observeEnd(w.observer, r, err)
	}
	return err
}

// turnedAway is why a request is refused; without a reason it is not.
type turnedAway struct {
	reason string
	retry  time.Duration
}

func (a *Adaptive) admitInflight(r *http.Request) (observer, turnedAway, error) {
	class, err := a.class(r)
	if err != nil {
		return nil, turnedAway{}, err
	}
	limiter := a.control.limiter
	request := adaptive.Request{Client: a.client(r), Class: class, Body: hasBody(r)}
	now := time.Now()
	if switches(r) {
		if refusal := limiter.StreamRoom(now, request.Client); refusal.Refused() {
			return nil, turnedAway{refusal.Reason.String(), refusal.RetryAfter}, nil
		}
	}
	ticket, refusal := limiter.Wait(r.Context(), now, request)
	if refusal.Refused() {
		return nil, turnedAway{refusal.Reason.String(), refusal.RetryAfter}, nil
	}
	return ticket, turnedAway{}, nil
}

// admitRate admits by the rate of all clients.
func (a *Adaptive) admitRate(r *http.Request) (observer, turnedAway, error) {
	now := time.Now()
	if retry, ok := a.control.loop.Allow(now); !ok {
		a.control.refusedByRate.Add(1)
		return nil, turnedAway{"rate", retry}, nil
	}
	a.control.admittedByRate.Add(1)
	return &rateSample{loop: a.control.loop, threshold: a.control.loop.Status(now).Threshold, clock: now, uploading: hasBody(r)}, turnedAway{}, nil
}

// hasBody reports whether a body may come. Servers wrap what is http.NoBody, but
// know its length.
func hasBody(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Adaptive)(nil)
	_ caddy.CleanerUpper          = (*Adaptive)(nil)
	_ caddyhttp.MiddlewareHandler = (*Adaptive)(nil)
)
