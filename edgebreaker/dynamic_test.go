package edgebreaker

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

func init() { caddy.RegisterModule(new(lookedUp)) }

// lookedUp is a source of upstreams that asks somebody each time, as those of Caddy do
// for a retry.
type lookedUp struct {
	Addresses []string `json:"addresses"`
}

func (*lookedUp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.upstreams.looked_up", New: func() caddy.Module { return new(lookedUp) }}
}

func (l *lookedUp) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	l.Addresses = d.RemainingArgs()
	return nil
}

func (l *lookedUp) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	found := make([]*reverseproxy.Upstream, len(l.Addresses))
	for i, address := range l.Addresses {
		found[i] = &reverseproxy.Upstream{Dial: address}
	}
	return found, nil
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// TestRetryOfDynamicUpstreams: after a deadline the request goes to another of those
// that were found, though the proxy finds none any more.
func TestRetryOfDynamicUpstreams(t *testing.T) {
	a, b, spare := newOrigin(t, "a"), newOrigin(t, "b"), newOrigin(t, "spare")
	a.serve(hang)
	for _, static := range []string{"", spare.address} { // what the proxy falls back to
		g := newRig(t)
		g.load(pool("failures 100\nheader_timeout 50ms", "lb_policy edge\nlb_retries 1\ndynamic looked_up "+a.address+" "+b.address, static))
		before := a.asked.Load()
		for range 4 {
			r := g.get("/")
			require.Equal(t, 200, r.status)
			require.Equal(t, "b", r.body)
		}
		require.Greater(t, a.asked.Load(), before)
	}
	requireState(t, b.address, breaker.Closed)
}

type resolverFunc func(ctx context.Context) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	return f(ctx)
}

// TestRetryWaitsForTheGuard: after a deadline there is time to find out whether the other
// backend may be asked.
func TestRetryWaitsForTheGuard(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	named := func(o *origin) string { return strings.Replace(o.address, "127.0.0.1", "localhost", 1) }
	g := newRig(t)
	g.load(pool("failures 100\nheader_timeout 50ms", "lb_policy edge {\nupstreams deny metadata\n}\nlb_retries 1", named(a), named(b)))
	var guard *guard
	policies.Range(func(key, _ any) bool {
		guard = key.(*Policy).guard
		return guard == nil
	})
	require.NotNil(t, guard)
	guard.resolver = resolverFunc(func(context.Context) ([]netip.Addr, error) {
		<-time.After(20 * time.Millisecond)
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
	a.serve(func(w http.ResponseWriter, r *http.Request) {
		guard.mu.Lock()
		delete(guard.known, named(b))
		guard.mu.Unlock()
		hang(w, r)
	})
	for range 4 {
		require.Equal(t, 200, g.get("/").status)
	}
	require.Positive(t, a.asked.Load())
}
