package edgebreaker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// answers is a resolver that answers with an address after a time, or not at all.
type answers struct {
	mu    sync.Mutex
	addr  string // "": no such host
	after time.Duration
	asked int
}

func (a *answers) set(addr string, after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addr, a.after = addr, after
}

func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

func (a *answers) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	a.mu.Lock()
	addr, after := a.addr, a.after
	a.asked++
	a.mu.Unlock()
	select {
	case <-time.After(after):
	case <-ctx.Done():
		return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: true}
	}
	if addr == "" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr(addr)}, nil
}

// never is longer than anybody waits.
const never = time.Hour

// guarded runs f in a bubble of its own, with a guard that asks names.
func guarded(t *testing.T, names *answers, f func(t *testing.T, g *guard)) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGuard(t, UpstreamRules{Deny: []string{"metadata"}})
		g.resolver = names
		f(t, g)
	})
}

// allowed reports whether a name is allowed, and how long that took.
func allowed(t *testing.T, g *guard) (ok bool, took time.Duration) {
	began := time.Now()
	_, ok = g.allow(t.Context(), "app.example:80")
	return ok, time.Since(began)
}

// TestNobodyAnswers: a name that can't be resolved holds up the first requests, once
// for all of them, and then none while it is asked for.
func TestNobodyAnswers(t *testing.T) {
	names := &answers{after: never}
	guarded(t, names, func(t *testing.T, g *guard) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				ok, took := allowed(t, g)
				if ok || took != resolveAtRun {
					t.Errorf("%v after %s", ok, took)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, names.count())
		for i := range 60 {
			ok, took := allowed(t, g)
			require.False(t, ok)
			require.Zero(t, took, "request %d", i)
			time.Sleep(time.Second)
		}
		require.InDelta(t, 1+60/(failureFor+resolveAtRun).Seconds(), names.count(), 1, "lookups in the background")
	})
}

// TestVerdictsAreRenewed: what was found holds for a while, is used for another while
// it is looked up again, and no longer.
func TestVerdictsAreRenewed(t *testing.T) {
	names := &answers{addr: "93.184.215.14", after: time.Second}
	guarded(t, names, func(t *testing.T, g *guard) {
		check := func(ok bool, took time.Duration, asked int) {
			t.Helper()
			synctest.Wait()
			gotOK, gotTook := allowed(t, g)
			synctest.Wait()
			require.Equal(t, fmt.Sprint(ok, took, asked), fmt.Sprint(gotOK, gotTook, names.count()))
		}
		check(true, time.Second, 1)
		names.set("169.254.169.254", time.Second)
		time.Sleep(verdictFor - time.Millisecond)
		check(true, 0, 1)
		time.Sleep(time.Millisecond)
		check(true, 0, 2)
		time.Sleep(time.Second)
		check(false, 0, 2)
		names.set("93.184.215.14", time.Second)
		time.Sleep(verdictFor + staleFor)
		check(true, time.Second, 3)
		time.Sleep(verdictFor + staleFor)
		names.set("169.254.169.254", time.Second)
		check(false, time.Second, 4)
	})
}

// TestClientsThatLeave: the lookup goes on without the one who began it.
func TestClientsThatLeave(t *testing.T) {
	names := &answers{addr: "93.184.215.14", after: time.Second}
	guarded(t, names, func(t *testing.T, g *guard) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, ok := g.allow(ctx, "app.example:80")
		require.False(t, ok)
		require.Empty(t, g.known, "it says nothing of the name")
		ok, took := allowed(t, g)
		require.True(t, ok)
		require.Equal(t, time.Second, took)
		require.Equal(t, 1, names.count())

		until := g.known["app.example:80"].until
		time.Sleep(verdictFor + staleFor)
		names.set("", time.Second)
		_, ok = g.allow(ctx, "app.example:80")
		require.False(t, ok)
		require.Equal(t, until, g.known["app.example:80"].until, "nor does it renew what was known")
	})
}

// TestResolverThatFails: what was allowed stays so while nobody can tell, and what was
// denied too.
func TestResolverThatFails(t *testing.T) {
	for _, last := range []string{"93.184.215.14", "169.254.169.254"} {
		names := &answers{addr: last}
		guarded(t, names, func(t *testing.T, g *guard) {
			want := last == "93.184.215.14"
			ok, _ := allowed(t, g)
			require.Equal(t, want, ok)
			names.set("", 0)
			for range 5 {
				time.Sleep(verdictFor + staleFor)
				ok, _ := allowed(t, g)
				require.Equal(t, want, ok)
			}
			require.Equal(t, 6, names.count())
		})
	}
}

// TestLookupsAreBounded: many names are not all looked up at a time.
func TestLookupsAreBounded(t *testing.T) {
	names := &answers{after: never}
	guarded(t, names, func(t *testing.T, g *guard) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for i := range 2 * mostLookups {
			_, ok := g.allow(ctx, fmt.Sprintf("app%d.example:80", i))
			require.False(t, ok)
		}
		synctest.Wait()
		require.Equal(t, mostLookups, names.count())
		_, took := allowed(t, g)
		require.Zero(t, took)
	})
}

// TestGuardEnds: with the config its lookups end, at once, and none begins after it.
func TestGuardEnds(t *testing.T) {
	names := &answers{after: never}
	guarded(t, names, func(t *testing.T, g *guard) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		g.allow(ctx, "app.example:80")
		require.Len(t, g.lookups, 1)
		began := time.Now()
		g.close()
		require.Zero(t, time.Since(began))
		require.Empty(t, g.lookups)
		_, ok := g.allow(t.Context(), "other.example:80")
		require.False(t, ok)
		require.Equal(t, 1, names.count())
	})
	(*guard)(nil).close()
}

// TestRefusalsOfTheGuardAreTold: with upstream, address and kind.
func TestRefusalsOfTheGuardAreTold(t *testing.T) {
	names := &answers{addr: "::ffff:169.254.169.254"}
	guarded(t, names, func(t *testing.T, g *guard) {
		core, logs := observer.New(zap.WarnLevel)
		g.logger = zap.New(core)
		for range 3 {
			allowed(t, g)
		}
		require.Equal(t, 1, logs.Len(), "now and then")
		require.Equal(t, "the address guard refuses an upstream", logs.All()[0].Message)
		require.Equal(t, map[string]any{"upstream": "app.example:80", "address": "::ffff:169.254.169.254", "kind": "metadata"}, logs.All()[0].ContextMap())

		time.Sleep(refusalNotice)
		_, ok := g.allow(t.Context(), "0x7f.1:80")
		require.False(t, ok)
		require.Contains(t, logs.All()[1].ContextMap()["error"], "no host name")

		names.set("", never)
		time.Sleep(refusalNotice)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		g.allow(ctx, "other.example:80")
		require.Equal(t, 2, logs.Len(), "a client that leaves is no refusal")
	})
}

// TestDeniedAtRunTime: the refusal and the log, through the server.
func TestDeniedAtRunTime(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.log = filepath.Join(g.dir, "log")
	g.load("edge_breaker\nreverse_proxy {header.X-To} {\nlb_policy edge {\nupstreams deny private\n}\n}")
	require.Equal(t, 200, g.get("/", "X-To: "+a.address).status)
	requireState(t, a.address, breaker.Closed)
	r := g.get("/", "X-To: 10.0.0.1:80")
	require.Equal(t, 503, r.status)
	require.Equal(t, "30", r.header.Get("Retry-After"))
	require.Contains(t, g.logged(), `"upstream":"10.0.0.1:80","address":"10.0.0.1","kind":"private"`)

	var guards []*guard
	policies.Range(func(key, _ any) bool {
		if p := key.(*Policy); p.guard != nil {
			guards = append(guards, p.guard)
		}
		return true
	})
	require.Len(t, guards, 1)
	require.NoError(t, guards[0].ctx.Err())
	g.load(site("", a.address, ""))
	require.Error(t, guards[0].ctx.Err(), "it has ended with its config")
}

// TestUnknownAtLoad: a name that could not be resolved when the config was loaded holds
// up no request right after that.
func TestUnknownAtLoad(t *testing.T) {
	names := &answers{after: never}
	guarded(t, names, func(t *testing.T, g *guard) {
		h := &reverseproxy.Handler{Upstreams: reverseproxy.UpstreamPool{{Dial: "app.example:80"}}}
		warned := 0
		require.NoError(t, g.checkProxy(h, func(error) { warned++ }))
		require.Equal(t, 1, warned)
		names.set("93.184.215.14", time.Second)
		time.Sleep(failureFor)
		ok, took := allowed(t, g)
		require.False(t, ok)
		require.Zero(t, took)
		time.Sleep(time.Second)
		synctest.Wait()
		ok, _ = allowed(t, g)
		require.True(t, ok)
	})
}
