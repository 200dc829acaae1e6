package edgebreaker

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// handlerOf returns the running handler of a name.
func handlerOf(t *testing.T, name string) *Handler {
	var found *Handler
	handlers.Range(func(key, _ any) bool {
		if h := key.(*Handler); h.Name == name {
			found = h
		}
		return true
	})
	require.NotNil(t, found)
	return found
}

// TestStickyIsNoRoute: a bad backend of clients that another policy binds closes the
// route to nobody, also right after a reload.
func TestStickyIsNoRoute(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	conf := pool("name sticky\nfailures 2", "lb_policy cookie lb {\nfallback edge\n}", a.address, b.address)
	g.load(conf)
	bound := func() string {
		for {
			r := g.get("/")
			if r.body == "a" {
				cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
				return cookie
			}
		}
	}()
	a.status(500, "")
	g.load(conf + " # again")
	for range 7 {
		require.Equal(t, 500, g.get("/", "Cookie: "+bound).status)
	}
	require.False(t, handlerOf(t, "sticky").guardsRoute())
	eventually(t, func() bool { g.get("/"); return backend(t, a.address).State() == breaker.Open })
	for range 4 {
		require.Equal(t, "b", g.get("/").body)
	}
}

// TestMixedPlainFirst: as TestMixed, but the proxy without the policy is asked first.
func TestMixedPlainFirst(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load("edge_breaker {\nname mixed\n}\nreverse_proxy /b " + b.address + "\nreverse_proxy " + a.address + " {\nlb_policy edge\n}")
	b.status(500, "")
	for range 7 {
		require.Equal(t, 500, g.get("/b").status)
	}
	require.Equal(t, 200, g.get("/").status)
}

// TestRouteFromTheFirst: after a reload the first requests find the route guarded, and
// have its deadline.
func TestRouteFromTheFirst(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	conf := "edge_breaker {\nname first\nfailures 2\nheader_timeout 200ms\n}\nreverse_proxy " + a.address
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	a.serve(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	g.load(conf)
	require.Equal(t, []int{504, 504, 503}, g.codes(3))
	g.load(conf + " # again")
	asked := a.asked.Load()
	require.Equal(t, []int{503, 503}, g.codes(2))
	require.Equal(t, asked, a.asked.Load())
}

// TestRouteBeforeTheApp: the server may start before the app, whose start reads the
// routes.
func TestRouteBeforeTheApp(t *testing.T) {
	config := new(caddy.Config)
	require.NoError(t, json.Unmarshal([]byte(`{"apps": {"http": {"servers": {"edge": {"routes": [{"handle": [
		{"handler": "edge_breaker", "name": "early"},
		{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]}
	]}]}}}}}`), config))
	ctx, err := caddy.ProvisionContext(config)
	require.NoError(t, err)
	app, err := ctx.App("http")
	require.NoError(t, err)
	h, ok := app.(*caddyhttp.App).Servers["edge"].Routes[0].Handlers[0].(*Handler)
	require.True(t, ok)
	require.Equal(t, partUnknown, h.part.Load())
	require.True(t, h.guardsRoute())
	require.NoError(t, h.Cleanup())
}

// TestHandlersThatAreNotSeen: what the app can't see is told, and guarded by those who
// ask.
func TestHandlersThatAreNotSeen(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	ctx, err := caddy.ProvisionContext(new(caddy.Config))
	require.NoError(t, err)
	app, err := edgeapp.From(ctx)
	require.NoError(t, err)
	h := &Handler{app: app, logger: zap.New(core)}
	require.False(t, h.guardsRoute())
	h.tell()
	h.EdgeProxies(edgeapp.ProxiesBehind{Cached: []string{"there"}})
	require.False(t, h.guardsRoute())
	h.tell()
	require.Equal(t, 2, logs.Len())
	require.Contains(t, logs.All()[0].Message, "in no route that can be read")
	require.Contains(t, logs.All()[1].Message, "put edge_breaker behind edge_cache")
	require.Equal(t, []any{"there"}, logs.All()[1].ContextMap()["proxies"])
}

// TestGuardIsTold: what is guarded is told once, when the config is loaded.
func TestGuardIsTold(t *testing.T) {
	a := newOrigin(t, "a")
	const whole, mixed, bound, nothing = "the route as a whole is guarded", "its requests are not guarded", "for which that one decides", "no proxy is behind"
	all := []string{whole, mixed, bound, nothing}
	edge := "reverse_proxy " + a.address + " {\nlb_policy edge\n}\n"
	for _, test := range []struct{ name, site, want string }{
		{"backends", edge, ""},
		{"route", "reverse_proxy " + a.address, whole},
		{"mixed", "reverse_proxy /b " + a.address + "\n" + edge, mixed},
		{"bound", "reverse_proxy " + a.address + " {\nlb_policy cookie lb {\nfallback edge\n}\n}", bound},
		{"nothing", "file_server", nothing},
		{"another one inside", "reverse_proxy " + a.address + " {\nhandle_response {\nroute {\nedge_breaker\n" + edge + "}\n}\n}", mixed},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newRig(t)
			g.log = filepath.Join(g.dir, "log")
			g.load("edge_breaker {\nname told\n}\n" + test.site)
			require.Equal(t, test.want == whole, handlerOf(t, "told").guardsRoute())
			g.codes(3)
			for _, text := range all {
				n := 0
				if text == test.want {
					n = 1
				}
				require.Equal(t, n, strings.Count(g.logged(), text), "%s\n%s", text, g.logged())
			}
		})
	}
}

// TestRouteIsJudgedByProxies: what other handlers answer behind a guarded route says
// nothing of it, and no deadline of it ends that.
func TestRouteIsJudgedByProxies(t *testing.T) {
	a := newOrigin(t, "a")
	a.status(500, "")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), []byte("file"), 0o600))
	g := newRig(t)
	g.load("root " + dir + "\nedge_breaker {\nname files\nfailures 3\n}\nreverse_proxy /api " + a.address + "\nfile_server")
	state := func() string { return backend(t, routeAddress("files")).State().String() }
	require.Equal(t, "closed", state(), "it is known before there are requests")
	for range 2 {
		require.Equal(t, 500, g.get("/api").status)
		require.Equal(t, 200, g.get("/x").status, "ends no run of failures")
		require.Equal(t, 404, g.get("/none").status)
	}
	require.Equal(t, "closed", state())
	require.Equal(t, 500, g.get("/api").status)
	require.Equal(t, "open", state())
	require.Equal(t, 503, g.get("/x").status, "nobody knows yet who would answer")

	t.Run("errors of others", func(t *testing.T) {
		g.load("route {\nedge_breaker {\nname others\nfailures 1\n}\nreverse_proxy /api " + a.address + "\nerror 500\n}")
		require.Equal(t, []int{500, 500}, g.codes(2))
		require.Equal(t, 500, g.get("/api").status)
		require.Equal(t, []int{503}, g.codes(1))
	})
	t.Run("a probe", func(t *testing.T) {
		g.load("route {\nedge_breaker {\nname probed\nfailures 1\nprobes 1\nsuccesses 1\nopen 1ms\n}\nreverse_proxy /api " + a.address + "\nrespond ok\n}")
		require.Equal(t, 500, g.get("/api").status)
		eventually(t, func() bool { return g.get("/").status == 200 })
		require.Equal(t, 200, g.get("/").status, "it gave the slot back")
		requireState(t, routeAddress("probed"), breaker.HalfOpen)
	})
	t.Run("an address in vain", func(t *testing.T) {
		g.load("edge_breaker {\nname vain\nfailures 2\n}\nreverse_proxy " + deadAddress(t))
		require.Equal(t, []int{502, 502, 503}, g.codes(3))
	})
	t.Run("a slow file", func(t *testing.T) {
		g.load("edge_breaker {\nname slow\ntimeout 50ms\nheader_timeout 50ms\n}\nreverse_proxy /api " + a.address + "\nroot " + dir + "\nfile_server")
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		rec := newRecord(handlerOf(t, "slow"), httptest.NewRecorder(), r)
		require.Equal(t, reasonNone, rec.enterRoute(r).reason)
		rec.writer.WriteHeader(200)
		require.False(t, rec.route)
		require.Equal(t, idle, rec.phase, "no deadline ends it any more")
		rec.settle(time.Now(), nil, false)
	})
}

// TestInsideOfAPolicy: the backends of a policy inside of another are known before
// there are requests, and it sees what its transport reports.
func TestInsideOfAPolicy(t *testing.T) {
	for _, lb := range []string{"lb_policy edge", "lb_policy cookie lb {\nfallback edge\n}", "lb_policy header X-A {\nfallback query id {\nfallback edge\n}\n}"} {
		a, b := newOrigin(t, "a"), newOrigin(t, "b")
		g := newRig(t)
		g.load(pool("failures 3", "lb_retries 1\n"+lb, "h2c://"+a.address, "h2c://"+b.address))
		requireState(t, a.address, breaker.Closed)
		_, text := call(t, "GET", "/edge/breaker/backends", "")
		require.Contains(t, text, a.address)
		for range 4 {
			require.Equal(t, 200, g.get("/").status)
		}
		a.serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		eventually(t, func() bool { g.get("/"); return backend(t, a.address).State() == breaker.Open })
	}
}

// TestBreakerInTheWay: two in one chain, and one behind its proxy, are refused.
func TestBreakerInTheWay(t *testing.T) {
	g := newRig(t)
	const proxy = "reverse_proxy 127.0.0.1:1 {\nlb_policy edge\n}\n"
	require.ErrorContains(t, g.tryLoad("route {\nedge_breaker {\nname first\n}\nedge_breaker\n"+proxy+"}"), "routes/0/handle/1 (host edge) stands behind edge_breaker at ")
	require.ErrorContains(t, g.tryLoad("route {\n"+proxy+"edge_breaker\n}"), "can never be reached")
	require.NoError(t, g.tryLoad("handle /a* {\nedge_breaker\n"+proxy+"}\nhandle {\nedge_breaker\n"+proxy+"}\nhandle_errors {\nedge_breaker\n"+proxy+"}"))
	require.NoError(t, g.tryLoad("edge_breaker {\nfallback {\nedge_breaker\n"+proxy+"}\n}\n"+proxy))
}
