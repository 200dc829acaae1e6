package integration

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// waiting has the proxy ask for a backend for longer than any client of these tests
// waits. A refusal must come at once nevertheless.
const waiting = "lb_try_duration 10m\nlb_try_interval 10ms"

func TestAllOpenIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 2, `
		{
			servers {
				protocols h1 h2 h2c h3
			}
		}
		{{http "site"}}, {{https "secure"}} {
			log
			edge_breaker {
				failures     1
				open         1h 1h
				max_ejection 100%
			}
			reverse_proxy {{.pool}} {
				lb_policy edge
				`+waiting+`
			}
		}
	`, nil)
	b.handle("/broken", failing())
	require.Equal(t, map[int]int{http.StatusInternalServerError: 2}, b.gets(2, "/broken"))
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		requireUnavailable(t, b.Get(p, b.URL("secure")+"/page"), 3500, 3600)
		requireUnavailable(t, b.Do(p, http.MethodPost, b.URL("secure")+"/page", "content"), 3500, 3600)
	})
	requireUnavailable(t, b.get("/page?last"), 3500, 3600)
	require.Equal(t, []int{0, 0}, b.arrived("/page"))
	entry := b.WaitLog(isAccess("/page?last"))
	require.Equal(t, "open", entry["edge_breaker_refused"])
	require.NotContains(t, entry, "edge_breaker", "none was tried")
	require.InDelta(t, 7, b.Metrics()[`caddy_edge_breaker_refused_total{reason="open"}`], 0)
	isNotice := func(e harness.Entry) bool { return e["msg"] == "no backend to ask" }
	require.Equal(t, "open", b.WaitLog(isNotice)["reason"])

	// One may be asked: it is waited for by nobody any more.
	b.force(1, "closed")
	require.Equal(t, http.StatusOK, b.get("/page").Status)
}

func TestStaleCopyIsServedWhenAllAreOpen(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{front: "edge_cache {\nstale_on_error 1h\n}", rules: patient, proxy: waiting})
	b.origin.Handle("/stored", text("stored", "Cache-Control: max-age=0, stale-if-error=3600", `ETag: "1"`))
	require.Equal(t, "stored", string(b.get("/stored").Body))
	b.origin.Handle("/broken", failing())
	require.Equal(t, http.StatusInternalServerError, b.get("/broken").Status)
	for range 3 {
		got := b.get("/stored")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "stored", string(got.Body))
		require.Contains(t, cacheStatus(got), "stale-if-error")
		require.Empty(t, got.Header.Values("Retry-After"))
		require.Equal(t, []string{"max-age=0, stale-if-error=3600"}, got.Header.Values("Cache-Control"))
	}
	b.requireArrived("/stored", 1)
	requireUnavailable(t, b.get("/missing"), 3500, 3600)
	b.close(0)
	require.Equal(t, http.StatusOK, b.get("/missing").Status, "the refusal was not stored")
}

func TestFallback(t *testing.T) {
	t.Parallel()
	refused := patient + "max_ejection 100%\n"
	b := startBreaker(t, 1, breakerOptions{rules: refused})
	b.force(0, "open")
	got := b.get("/page")
	requireUnavailable(t, got, 1, 60)

	for name, want := range map[string]struct {
		rules, errors string
		status        int
		body          string
	}{
		"status":             {"status 502", "", 502, ""},
		"status of its own":  {"fallback 202", "", 202, ""},
		"body":               {`fallback "We are back soon."`, "", 503, "We are back soon."},
		"body and status":    {`fallback "Sorry, {http.request.host}" 200`, "", 200, "Sorry, 127.0.0.1"},
		"block":              {"fallback {\nheader X-From fallback\nrespond \"from a block\" 203\n}", "", 203, "from a block"},
		"block with a proxy": {"fallback {\nrewrite * /fallback\nreverse_proxy " + b.addr(0) + "\n}", "", 200, "from the origin"},
		"error routes": {"", "handle_errors 503 {\nrespond \"{err.status_code} {http.edge_breaker.reason} {http.edge_breaker.retry_after}\"\n}",
			503, "503 open 30"},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			b.origin.Handle("/fallback", text("from the origin"))
			require.NoError(t, b.reload(breakerOptions{rules: refused + want.rules, errors: want.errors}))
			got := b.get("/page")
			require.Equal(t, want.status, got.Status)
			if want.body != "" {
				require.Equal(t, want.body, string(got.Body))
			}
			require.NotEmpty(t, got.Header.Get("Retry-After"))
			require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
			if name == "block" {
				require.Equal(t, "fallback", got.Header.Get("X-From"))
			}
		})
	}
	require.Zero(t, b.origin.Stats("/page").Arrived)
	require.NoError(t, b.reload(breakerOptions{rules: refused}))
}

func TestConcurrencyOfABackend(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 1, breakerOptions{rules: patient + "concurrency 1"})
	for _, p := range []harness.Proto{harness.H1, harness.H2C} {
		t.Run(string(p), func(t *testing.T) {
			b := b.in(t)
			require.NoError(t, b.reload(breakerOptions{rules: patient + "concurrency 1"}))
			refused := func() float64 { return b.Metrics()[`caddy_edge_breaker_refused_total{reason="concurrency"}`] }
			before := refused()
			path := "/held/" + string(p)
			gate, held := b.hold(path, 1)
			requireUnavailable(t, b.get("/page"), 1, 1)
			require.InDelta(t, before+1, refused(), 0)

			// Of three, one may wait.
			require.NoError(t, b.reload(breakerOptions{rules: patient + "concurrency 1 1 1m"}))
			three := sendTogether(t, b.Client(p), 3, func(int) *http.Request { return b.request(http.MethodGet, "/waits") })
			poll(t, "two are refused", func() bool { return refused() == before+3 })
			require.Zero(t, b.origin.Stats("/waits").Arrived)
			gate.Open()
			held.responses()
			require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusServiceUnavailable: 2}, statuses(three.responses()))
			require.Equal(t, http.StatusOK, b.get("/page").Status)
			b.awaitState(0, "closed")
			b.origin.Forget()
		})
	}
}

// TestRefusalsBehindTheCacheAreTold: the log, the error routes and the client see of
// a refusal behind edge_cache what they would see without it.
func TestRefusalsBehindTheCacheAreTold(t *testing.T) {
	t.Parallel()
	for name, errors := range map[string]string{
		"plain":        "",
		"error routes": "handle_errors 503 {\nrespond \"{err.status_code} {http.edge_breaker.reason} {http.edge_breaker.retry_after}\"\n}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBreaker(t, 1, breakerOptions{front: "edge_cache", rules: patient, errors: errors})
			require.Equal(t, http.StatusOK, b.get("/page").Status)
			require.Equal(t, b.addr(0)+" 200", b.WaitLog(isAccess("/page"))["edge_breaker"])
			b.force(0, "open")
			got := b.get("/other")
			require.Equal(t, http.StatusServiceUnavailable, got.Status)
			require.Equal(t, []string{"30"}, got.Header.Values("Retry-After"))
			require.Equal(t, []string{"no-store"}, got.Header.Values("Cache-Control"))
			if errors != "" {
				require.Equal(t, "503 open 30", string(got.Body))
			}
			require.Equal(t, "open", b.WaitLog(isAccess("/other"))["edge_breaker_refused"])
		})
	}
}
