package edgebreaker

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/api"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/upstreamhint"
)

func init() {
	api.Register(
		api.Route{Method: http.MethodGet, Path: "/edge/breaker/backends", Role: api.Read, Handle: serveBackends},
		api.Route{Method: http.MethodGet, Path: "/edge/breaker/backend", Role: api.Read, Handle: serveBackend},
		api.Route{Method: http.MethodPost, Path: "/edge/breaker/force", Role: api.Operate, Handle: serveForce},
	)
}

// backendReply describes a backend.
type backendReply struct {
	Address   string       `json:"address"`
	State     string       `json:"state"`
	Mode      string       `json:"mode"`
	Active    int          `json:"active"`
	Probes    int          `json:"probes"`
	RPS       float64      `json:"rps"`
	Errors    float64      `json:"error_ratio"`
	P50       float64      `json:"p50_ms"`
	P95       float64      `json:"p95_ms"`
	P99       float64      `json:"p99_ms"`
	Latency   float64      `json:"ewma_ms"`
	Failures  int          `json:"consecutive_failures"`
	Successes int          `json:"successes"`
	Reopens   int          `json:"reopens"`
	OpenedAt  *time.Time   `json:"opened_at,omitempty"`
	OpenUntil *time.Time   `json:"open_until,omitempty"`
	Proxies   []proxyReply `json:"proxies,omitempty"`
}

// proxyReply is a backend's part in the pool of one proxy.
type proxyReply struct {
	Proxy   string  `json:"proxy,omitempty"`
	Method  string  `json:"method"`
	Weight  int     `json:"weight"`
	Share   float64 `json:"share"`
	Healthy bool    `json:"healthy"`
	// Reinstated tells that it is used though it is open.
	Reinstated bool `json:"reinstated,omitempty"`
}

func newBackendReply(b *breaker.Backend, now time.Time) backendReply {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC().Round(0)
		return &t
	}
	s := b.Status(now)
	reply := backendReply{
		Address: s.Address, State: s.State.String(), Mode: s.Mode.String(), Active: s.Active, Probes: s.Probes, RPS: s.RPS, Errors: s.ErrorRatio,
		P50: ms(s.P50), P95: ms(s.P95), P99: ms(s.P99), Latency: ms(s.Latency), Failures: s.ConsecutiveFailures, Successes: s.Successes,
		Reopens: s.Reopens, OpenedAt: at(s.OpenedAt), OpenUntil: at(s.OpenUntil),
	}
	policies.Range(func(key, _ any) bool {
		p := key.(*Policy)
		rules := p.rules.Load()
		if rules == nil {
			rules = &noRules
		}
		for _, m := range p.table.members() {
			if m.address == s.Address {
				share, reinstated := b.Share(now, rules), s.State == breaker.Open && m.reinstated.Load()
				switch {
				case reinstated:
					share = b.Reinstated()
				case s.State == breaker.Open:
					share = 0
				}
				reply.Proxies = append(reply.Proxies, proxyReply{edgeapp.PlaceOf(p.proxy), p.Method, cmp.Or(upstreamhint.Of(m.dial).Weight, m.weight), share, !m.down(), reinstated})
			}
		}
		return true
	})
	slices.SortFunc(reply.Proxies, func(a, b proxyReply) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return reply
}

// serveBackends lists the backends.
func serveBackends(w http.ResponseWriter, _ *http.Request) error {
	now, in := time.Now(), backendsInUse()
	out := []backendReply{}
	eachBackend(func(b *breaker.Backend) {
		if in.listed(b.Status(now), now) {
			out = append(out, newBackendReply(b, now))
		}
	})
	slices.SortFunc(out, func(a, b backendReply) int { return strings.Compare(a.Address, b.Address) })
	return api.WriteJSON(w, map[string]any{"backends": out})
}

// serveBackend shows one: ?address=.
func serveBackend(w http.ResponseWriter, r *http.Request) error {
	b, err := backendOf(r.FormValue("address"))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, newBackendReply(b, time.Now()))
}

// backendOf looks a backend up for a request.
func backendOf(address string) (*breaker.Backend, error) {
	if address == "" {
		return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("address: is missing")}
	}
	if all, ok := registries.Peek(registryKey); ok {
		if b, ok := all.Lookup(address); ok {
			return b, nil
		}
		if canonical := addressOf(address); canonical != "" {
			if b, ok := all.Lookup(canonical); ok {
				return b, nil
			}
		}
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("address: there is no backend %q", address)}
}

// serveForce gives a backend an operator's order.
func serveForce(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Address string `json:"address"`
		Mode    string `json:"mode"`
	}
	if err := api.ReadJSON(r, &q); err != nil {
		return err
	}
	mode, ok := breaker.ParseMode(q.Mode)
	if !ok {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("mode: invalid value %q: want open, closed or auto", q.Mode)}
	}
	b, err := backendOf(q.Address)
	if err != nil {
		return err
	}
	now := time.Now()
	change := b.Force(now, mode)
	report(change, countersIfAny(b.Address()))
	if change.Changed() {
		caddy.Log().Named("admin.api.edge").Info("forced a backend", zap.String("backend", b.Address()), zap.String("mode", mode.String()))
	}
	return api.WriteJSON(w, newBackendReply(b, now))
}
