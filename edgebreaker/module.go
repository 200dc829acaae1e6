// Package edgebreaker is a breaker per backend and a load-balancing policy that
// goes by it: the handler edge_breaker in front of a reverse_proxy, and its
// lb_policy edge.
//
// The handler puts a record into the request's variables (record.go). The policy
// (policy.go) finds it there, settles the attempt before, and chooses a backend for
// the next one. How an attempt ended is told from the status that the proxy notes,
// from its error, and from what the wrapped body and writer saw (outcome.go).
package edgebreaker

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler is a breaker per backend: a backend that fails gets no requests for a
// while, then a few to see whether it is well, and then slowly its share again. It
// belongs in front of a reverse_proxy with lb_policy edge; with another policy it
// guards the route as a whole.
type Handler struct {
	// Name is that of the route, where the route as a whole is guarded. Handlers
	// of one name share that state, and must have the same options but for Status and
	// Fallback. Default: default.
	Name string `json:"name,omitempty"`

	// Failures is the number of consecutive failures that opens a backend; below
	// zero: off. Default: 5.
	Failures int `json:"failures,omitempty"`
	// FailureRatio is the share of the requests in the window, up to 1, whose
	// failure opens, FailureMinRequests the number of requests below which it says
	// nothing. Default: off; 20.
	FailureRatio       float64 `json:"failure_ratio,omitempty"`
	FailureMinRequests int     `json:"failure_min_requests,omitempty"`
	// SlowRatio is the share of the requests in the window that take SlowLatency or
	// longer to their header, which opens. SlowMinRequests is as above. Default:
	// off; 20.
	SlowRatio       float64        `json:"slow_ratio,omitempty"`
	SlowLatency     caddy.Duration `json:"slow_latency,omitempty"`
	SlowMinRequests int            `json:"slow_min_requests,omitempty"`
	// Window is how far back the ratios look, 1s to 10m. Default: 10s.
	Window caddy.Duration `json:"window,omitempty"`

	// FailureStatus are the status codes that are failures; 1 to 5 stand for a
	// class. Default: 5xx without 501 and 505, which are about the request.
	FailureStatus []int `json:"failure_status,omitempty"`
	// GRPCStatus are the results of gRPC that are failures, by name or number.
	// Default: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
	GRPCStatus []string `json:"grpc_status,omitempty"`

	// Successes is the number of probes that must succeed to close. Default: 3.
	Successes int `json:"successes,omitempty"`
	// Probes is the number of requests at a time while half-open. Default: 3.
	Probes int `json:"probes,omitempty"`
	// Open is how long a backend stays open at first, MaxOpen at most, since it
	// doubles each time. Default: 30s; 5m, or Open if that is more.
	Open    caddy.Duration `json:"open,omitempty"`
	MaxOpen caddy.Duration `json:"max_open,omitempty"`
	// MaxEjection is the share of a pool, up to 1, that may be open at once; at
	// least one backend may. Default: 0.5.
	MaxEjection float64 `json:"max_ejection,omitempty"`
	// SlowStart is how a backend gets its share back. Default: 25, 50, 75 and
	// 100 %, each for 10s.
	SlowStart *SlowStart `json:"slow_start,omitempty"`

	// RetryBudget bounds the proxy's retries in 10 s to this share of the requests, or
	// to ten times RetryMinPerSecond if that is more. Default: 0.2 and 10.
	RetryBudget       *float64 `json:"retry_budget,omitempty"`
	RetryMinPerSecond *int     `json:"retry_min_per_second,omitempty"`
	// RetryMethods are the methods that may be retried after a connection was made;
	// "any" stands for all. Default: the idempotent ones of RFC 9110 section 9.2.2.
	RetryMethods []string `json:"retry_methods,omitempty"`

	// HeaderTimeout is the time from the end of the request's body to the header of
	// the response; -1: off. Default: 60s.
	HeaderTimeout caddy.Duration `json:"header_timeout,omitempty"`
	// Timeout is the time that an attempt may take in all. -1 and the default: off.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Concurrency is the number of requests that a backend may have at a time,
	// Queue how many more may wait for it, and QueueDeadline how long. Default:
	// off; 0; 100ms.
	Concurrency   int            `json:"concurrency,omitempty"`
	Queue         int            `json:"queue,omitempty"`
	QueueDeadline caddy.Duration `json:"queue_deadline,omitempty"`

	// Status is that of a refusal, 500 to 599 or 429. Default: 503.
	Status int `json:"status,omitempty"`
	// Fallback answers in place of a refusal. Default: none.
	Fallback *Fallback `json:"fallback,omitempty"`

	rules    breaker.Config
	failing  statuses
	grpc     uint32 // one bit for each code
	methods  methods
	budget   *breaker.Budget
	registry *poolref.Ref[*registry]
	fallback caddyhttp.Handler
	logger   *zap.Logger

	app        *edgeapp.App
	part       atomic.Int32 // what is guarded, see guardsRoute
	behind     *edgeapp.ProxiesBehind
	definition string           // of the name, see define
	held       *breaker.Backend // of a route that is guarded, with its counters
	label      *counters
	notice     atomic.Int64 // when a refusal was last logged
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edge_breaker",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision checks the options.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	var err error
	if h.definition, err = h.define(); err != nil { // before the defaults are filled in
		return err
	}
	if err := h.provision(ctx); err != nil {
		return err
	}
	// The app checks the routes, also when the config does not name it.
	if h.app, err = edgeapp.From(ctx); err != nil {
		return err
	}
	if err := registerMetrics(ctx); err != nil {
		return err
	}
	if h.registry, err = takeRegistry(); err != nil {
		return err
	}
	h.app.OnStart(func() error {
		if _, again := handlers.Swap(h, true); again {
			return nil
		}
		if h.guardsRoute() {
			if err := h.claimRoute(); err != nil {
				handlers.Delete(h)
				return err
			}
			h.held, h.label = h.registry.Value().Hold(routeAddress(h.Name)), collectors().hold(routeAddress(h.Name))
		}
		h.tell()
		return nil
	})
	return nil
}

// Cleanup leaves the backends to later configurations, if there are any.
func (h *Handler) Cleanup() error {
	handlers.Delete(h)
	if h.held != nil {
		h.registry.Value().Release(h.held)
		collectors().release(h.label)
	}
	return h.registry.Release()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	rec := newRecord(h, w, r)
	if h.guardsRoute() {
		if refused := rec.enterRoute(r); refused.reason != reasonNone {
			rec.detach(r)
			return h.refuse(w, r, rec, refused)
		}
	}
	err := rec.serve(r, next)
	if err == nil || rec.writer.wrote {
		return err
	}
	return h.failed(w, r, rec, err)
}

// serve runs the next handlers and settles what they leave open, also when they
// panic: a proxy does, to abort the connection, when it can't send what it began.
func (rec *record) serve(r *http.Request, next caddyhttp.Handler) (err error) {
	defer func() {
		p := recover()
		rec.detach(r)
		if rec.route && !rec.proxyRan() {
			rec.leaveRoute(time.Now())
		}
		rec.settle(time.Now(), err, p == http.ErrAbortHandler) //nolint:errorlint // the panic's value
		if p != nil {
			panic(p)
		}
	}()
	err = next.ServeHTTP(&rec.writer, with(r, rec.limit))
	if rec.writer.swallowed && err == nil {
		err = caddyhttp.Error(http.StatusGatewayTimeout, errHeaderTimeout)
	}
	return err
}

// clientLeft reports whether the client cancelled the request. A deadline that was
// set in front is none of the client's.
func clientLeft(ctx context.Context) bool {
	return ctx.Err() != nil && !timedOut(context.Cause(ctx))
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ edgeapp.BreakerNode         = (*Handler)(nil)
)
