package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// says matches log lines that contain a text.
func says(message string) func(harness.Entry) bool {
	return func(e harness.Entry) bool { return e["msg"] == message }
}

func TestWithoutThePolicyTheRouteIsGuarded(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 2, `
		{{http "site"}} {
			edge_breaker {
				failures 3
				open     1h 1h
			}
			reverse_proxy {{.pool}}
		}
	`, nil)
	warning := says("no proxy behind edge_breaker has lb_policy edge, so the route as a whole is guarded, not each backend")
	require.Equal(t, map[int]int{http.StatusOK: 10}, b.gets(10, "/page"))
	b.WaitLog(warning)
	b.handle("/broken", failing())
	require.Equal(t, map[int]int{http.StatusInternalServerError: 3}, b.gets(3, "/broken"))
	poll(t, "it opens", func() bool { return b.list()["route default"].State == "open" })
	requireUnavailable(t, b.get("/page"), 3500, 3600)
	require.Equal(t, 1, b.countLogs(warning), "once")

	status, body := b.Admin(http.MethodPost, "/edge/breaker/force", map[string]string{"address": "route default", "mode": "closed"})
	require.Equal(t, http.StatusOK, status, string(body))
	require.Equal(t, map[int]int{http.StatusOK: 10}, b.gets(10, "/page"))
}

func TestThePolicyAloneBalances(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 3, `
		{{http "site"}} {
			reverse_proxy {{.pool}} {
				lb_policy edge {
					weights 1 1 2
				}
			}
		}
	`, nil)
	require.Equal(t, map[int]int{http.StatusOK: 40}, b.gets(40, "/page"))
	require.Equal(t, []int{10, 10, 20}, b.arrived("/page"))
	b.handle("/broken", failing())
	require.Equal(t, map[int]int{http.StatusInternalServerError: 40}, b.gets(40, "/broken"))
	require.Equal(t, []int{10, 10, 20}, b.arrived("/broken"), "none is taken out")
	alone := says("lb_policy edge without edge_breaker in front: it balances, but no backend is ever taken out")
	b.WaitLog(alone)
	require.Equal(t, 1, b.countLogs(alone))
}

// TestStickyCookies has Caddy's cookie policy ask ours for a first backend.
func TestStickyCookies(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 2, `
		{{http "site"}} {
			edge_breaker {
				`+patient+`
				max_ejection 100%
			}
			reverse_proxy {{.pool}} {
				lb_policy cookie sticky {
					fallback edge
				}
			}
		}
	`, nil)
	got := b.get("/first")
	require.Equal(t, http.StatusOK, got.Status)
	cookie := got.Header.Get("Set-Cookie")
	require.Contains(t, cookie, "sticky=")
	before := b.arrived("/first")
	for range 10 {
		require.Equal(t, http.StatusOK, b.get("/stuck", "Cookie: "+cookie).Status)
	}
	for i, n := range b.arrived("/stuck") {
		require.Equal(t, 10*before[i], n)
	}
	require.Equal(t, map[int]int{http.StatusOK: 10}, b.gets(10, "/others"))
	counts := b.arrived("/others")
	require.InDelta(t, counts[0], counts[1], 1)

	// Nobody is there for a new client: no cookie for it.
	b.force(0, "open")
	b.force(1, "open")
	refused := b.get("/none")
	requireUnavailable(t, refused, 1, 60)
	require.Empty(t, refused.Header.Values("Set-Cookie"))
}

func TestDynamicUpstreams(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 1, `
		{{http "site"}} {
			edge_breaker {
				failures 3
				open     1h 1h
			}
			reverse_proxy {
				dynamic a {
					name     localhost
					port     {{index .ports 0}}
					refresh  10ms
					versions ipv4
				}
				lb_policy edge
			}
		}
	`, nil)
	require.Equal(t, map[int]int{http.StatusOK: 20}, b.gets(20, "/page"))
	b.origin.Handle("/broken", failing())
	require.Equal(t, map[int]int{http.StatusInternalServerError: 3}, b.gets(3, "/broken"))
	poll(t, "it opens", func() bool { return b.status(0).State == "open" })
	requireUnavailable(t, b.get("/page"), 3500, 3600)
	require.Len(t, b.list(), 1)
}

// TestAddressesThatClientsChooseAreBounded sends more of them than there is room for.
func TestAddressesThatClientsChooseAreBounded(t *testing.T) {
	t.Parallel()
	const most = 4096
	b := startBreakerFile(t, 1, `
		{
			servers {
				protocols h1 h2c
			}
		}
		{{http "site"}} {
			edge_breaker {
				failures 2
				open     1h 1h
			}
			reverse_proxy {header.X-Backend} {
				lb_policy edge
				transport http {
					keepalive off
				}
			}
		}
	`, nil)
	const backend = "{http.request.header.X-Backend}" // as the config has it
	require.Equal(t, http.StatusOK, b.get("/page", "X-Backend: "+b.addr(0)).Status)
	dead := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	for range 2 {
		require.Equal(t, http.StatusBadGateway, b.get("/page", "X-Backend: "+dead).Status)
	}
	requireUnavailable(t, b.get("/page", "X-Backend: "+dead), 3500, 3600)
	require.Equal(t, "open", b.statusOf(dead).State)
	require.Equal(t, http.StatusOK, b.get("/page", "X-Backend: "+b.addr(0)).Status, "each has its own")

	// They are dead too, at loopback addresses of their own.
	_, port, err := net.SplitHostPort(dead)
	require.NoError(t, err)
	client := b.Client(harness.H2C)
	var clients sync.WaitGroup
	for worker := range 8 {
		clients.Go(func() {
			for i := worker; i < most+500; i += 8 {
				address := fmt.Sprintf("X-Backend: 127.1.%d.%d:%s", i/250, 1+i%250, port)
				got, err := harness.Send(client, b.request(http.MethodGet, "/page", address))
				if err != nil || got.Status != http.StatusBadGateway {
					t.Errorf("%s: %v %v", address, got, err)
					return
				}
			}
		})
	}
	clients.Wait()
	require.LessOrEqual(t, len(b.list()), most)
	labels := make(map[string]bool)
	for series := range b.Metrics() {
		if label := labelOf(series, "backend"); label != "" {
			labels[label] = true
		}
	}
	require.Equal(t, map[string]bool{backend: true}, labels, "no metric has what a client chose")
	require.Equal(t, map[string]int{"dial": most + 502}, b.failures(backend))
	require.Equal(t, http.StatusOK, b.get("/page", "X-Backend: "+b.addr(0)).Status)
	for _, bad := range []string{"", "no address", "127.0.0.1:1-5", "127.0.0.1:99999", "[::1", "user@127.0.0.1:80"} {
		got := b.get("/page", "X-Backend: "+bad)
		require.GreaterOrEqual(t, got.Status, 500, bad)
		require.Less(t, got.Status, 505, bad)
	}
}

func TestUpstreamAddressesAreChecked(t *testing.T) {
	t.Parallel()
	validate := func(pool, rules string) harness.CommandResult {
		t.Helper()
		file := filepath.Join(t.TempDir(), "Caddyfile")
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, ":1 {\n\tedge_breaker\n\treverse_proxy %s {\n\t\tlb_policy edge {\n%s\n}\n}\n}\n", pool, rules), 0o600))
		return harness.Run(t, "validate", "--config", file)
	}
	good := validate("127.0.0.1:80", "upstreams deny all\nupstreams allow_loopback\nupstreams pin")
	require.Equal(t, 0, good.ExitCode, good.Stderr)
	for _, bad := range []struct {
		pool, rules string
		says        []string
	}{
		{"127.0.0.1:80", "upstreams deny all", []string{"lb_policy edge: upstreams:", "127.0.0.1", "loopback", "deny"}},
		{"localhost:80", "upstreams deny loopback", []string{"lb_policy edge: upstreams:", "localhost:80", "loopback"}},
		{"10.1.2.3:80", "upstreams deny private", []string{"lb_policy edge: upstreams:", "10.1.2.3", "private"}},
		{"169.254.169.254:80", "upstreams deny metadata\nupstreams deny_nothing", []string{"lb_policy edge: upstreams:", "deny_nothing"}},
		{"169.254.169.254:80", "upstreams deny all\nupstreams allow_loopback", []string{"lb_policy edge: upstreams:", "169.254.169.254", "metadata"}},
		{"[::ffff:10.0.0.1]:80", "upstreams deny private", []string{"lb_policy edge: upstreams:", "private"}},
		{"0x7f.1:80", "upstreams deny loopback", []string{"lb_policy edge: upstreams:", "0x7f.1"}},
		{"unix//run/x.sock", "upstreams deny loopback", []string{"lb_policy edge: upstreams:", "/run/x.sock"}},
		{"127.0.0.1:80", "upstreams deny everything", []string{"lb_policy edge: upstreams deny:", "everything"}},
		{"127.0.0.1:80", "weights 1 2", []string{"lb_policy edge: weights:", "2", "1 upstreams"}},
	} {
		got := validate(bad.pool, bad.rules)
		require.Equal(t, 1, got.ExitCode, bad.pool+" "+bad.rules)
		for _, part := range bad.says {
			require.Contains(t, got.Stderr, part, bad.pool+" "+bad.rules)
		}
	}
}

// TestDeniedAddressesAtRunTime has a client choose the address.
func TestDeniedAddressesAtRunTime(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 1, `
		{{http "site"}} {
			edge_breaker
			reverse_proxy {header.X-Backend} {
				lb_policy edge {
					upstreams deny {{.denied}}
					upstreams pin
				}
			}
		}
	`, harness.Vars{"denied": "loopback"})
	got := b.get("/page", "X-Backend: "+b.addr(0))
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	_, port, err := net.SplitHostPort(b.addr(0))
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, b.get("/page", "X-Backend: localhost:"+port).Status)
	require.Equal(t, []int{0}, b.arrived("/page"))
	require.InDelta(t, 2, b.Metrics()[`caddy_edge_breaker_refused_total{reason="denied"}`], 0)
}

// TestRefusedRequestsAreNotUnguarded: that no backend could be chosen does not mean
// that nobody asked for one.
func TestRefusedRequestsAreNotUnguarded(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{})
	b.force(0, "open")
	for range 3 {
		require.Equal(t, http.StatusServiceUnavailable, b.get("/page?refused").Status)
	}
	b.WaitLog(isAccess("/page?refused"))
	require.Zero(t, b.countLogs(func(e harness.Entry) bool {
		msg, _ := e["msg"].(string)
		return strings.Contains(msg, "does not ask edge_breaker") || strings.Contains(msg, "the route as a whole is guarded")
	}))
}

// TestBreakerInFrontOfTheCache has the cache refresh in the background, by requests of
// its own that outlive the one which the breaker knows. It is for the race detector.
func TestBreakerInFrontOfTheCache(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 2, `
		{{http "site"}} {
			route {
				edge_breaker {
					failures    100
					concurrency 1
				}
				edge_cache
				reverse_proxy {{.pool}} {
					lb_policy edge
				}
			}
		}
	`, nil)
	b.handle("/page", text("stored", "Cache-Control: max-age=0, stale-while-revalidate=3600", `ETag: "1"`))
	for range 600 {
		require.Equal(t, http.StatusOK, b.get("/page").Status)
	}
	for i := range b.backends {
		require.Eventually(t, func() bool { return b.status(i).Active == 0 }, 10*time.Second, 10*time.Millisecond)
	}
	require.Equal(t, http.StatusOK, b.get("/other").Status)
}
