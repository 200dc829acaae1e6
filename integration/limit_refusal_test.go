package integration

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

func TestLimitOverEveryProtocol(t *testing.T) {
	t.Parallel()
	c := startLimitedFile(t, `
		{
			servers {
				protocols h1 h2 h2c h3
			}
		}
		{{http "plain"}}, {{https "secure"}} {
			edge_limit 3/h {
				key {header.X-Client}
			}
			reverse_proxy {{.origin}}
		}
	`, nil)
	check := func(t *testing.T, p harness.Proto, site string) {
		send := func(method string) *harness.Response {
			return c.Do(p, method, c.URL(site)+"/page", "", "X-Client: "+t.Name())
		}
		got := requireAllowed(t, 3, func() *harness.Response { return send(http.MethodGet) })
		requireRefusal(t, got, "default", 3, 3600, 1000, 1200)
		length := strconv.Itoa(len(got.Body))
		require.Equal(t, length, got.Header.Get("Content-Length"))

		head := send(http.MethodHead)
		require.Equal(t, http.StatusTooManyRequests, head.Status)
		require.Equal(t, length, head.Header.Get("Content-Length"))
		require.Empty(t, head.Body)
		require.InDelta(t, retryAfter(t, got), retryAfter(t, head), 100)

		post := c.Do(p, http.MethodPost, c.URL(site)+"/page", "content", "X-Client: "+t.Name())
		require.Equal(t, http.StatusTooManyRequests, post.Status)
	}
	t.Run("h1 plain", func(t *testing.T) { check(t, harness.H1, "plain") })
	t.Run("h2c", func(t *testing.T) { check(t, harness.H2C, "plain") })
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) { check(t, p, "secure") })
	require.Equal(t, 15, c.origin.Stats("/page").Arrived, "what reached the origin of 5 clients")
}

func TestBareLimitAllowsBrowsersAndStopsFloods(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit")
	z := c.zones()["default"]
	require.Equal(t, "100/s", z.Rate)
	require.Equal(t, 200, z.Burst)
	require.Equal(t, "{http.vars.client_ip}", z.Key)
	require.Equal(t, "enforce", z.Mode)
	got := c.get("/page")
	require.Equal(t, http.StatusOK, got.Status)
	require.Empty(t, got.Header.Values("RateLimit"))
	require.Empty(t, got.Header.Values("Retry-After"))
}

func TestRetryAfterIsTrue(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone rate 1/s {
			match  /rate
			burst  1
		}
		zone window {
			match  /window
			window 1/1s
		}
	}`)
	for _, path := range []string{"/rate", "/window"} {
		t.Run(path, func(t *testing.T) {
			c := c.in(t)
			// The refill goes on meanwhile, so it takes an unknown number of requests.
			var refused *harness.Response
			poll(t, "a refusal", func() bool {
				got := c.get(path)
				if got.Status == http.StatusTooManyRequests {
					refused = got
				}
				return refused != nil
			})
			wait := retryAfter(t, refused)
			require.GreaterOrEqual(t, wait, 1)
			require.LessOrEqual(t, wait, 2)
			// Waiting for longer than told does no harm.
			<-time.After(time.Duration(wait) * time.Second)
			require.Equal(t, http.StatusOK, c.get(path).Status)
		})
	}
}

func TestRetryAfterOfAPenaltyIsTrueFromTheStart(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit 60/m {\nburst 1\npenalty 1h\n}")
	// A second passes between none and many of these, so the rate may have room.
	var refused *harness.Response
	poll(t, "a refusal", func() bool {
		refused = c.get("/page")
		return refused.Status == http.StatusTooManyRequests
	})
	require.Greater(t, retryAfter(t, refused), 3000, "the refusal that begins the penalty")
	require.Greater(t, retryAfter(t, c.get("/page")), 3000, "the next refusal")
}

func TestFieldsOfAllowedRequests(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone all 5/h
		zone page {
			match  /page
			window 9/h
		}
		zone few {
			concurrency 10
		}
		ratelimit_fields always
	}`)
	for i := range int64(5) {
		got := c.get("/page")
		require.Equal(t, http.StatusOK, got.Status)
		policies := rateLimits(t, got, "RateLimit-Policy")
		require.Equal(t, []member{
			{"all", map[string]any{"q": int64(5), "w": int64(3600)}}, {"page", map[string]any{"q": int64(9), "w": int64(3600)}},
		}, policies)
		left := rateLimits(t, got, "RateLimit")
		require.Equal(t, 4-i, left[0].params["r"])
		require.Equal(t, 8-i, left[1].params["r"])
	}
	refused := c.get("/page")
	requireRefusal(t, refused, "all", 5, 3600, 600, 720)
	require.Len(t, rateLimits(t, c.get("/other"), "RateLimit"), 1)
}

func TestFieldsCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit 3/h {\nratelimit_fields off\n}")
	got := requireAllowed(t, 3, func() *harness.Response { return c.get("/page") })
	require.Empty(t, got.Header.Values("RateLimit"))
	require.Empty(t, got.Header.Values("RateLimit-Policy"))
	require.Greater(t, retryAfter(t, got), 1000)
}

func TestCustomRefusal(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit 3/h {
		status 503
		body   "<p>{http.edge_limit.zone} {http.edge_limit.reason}: {http.edge_limit.retry_after} {http.request.uri.path}</p>"
		header Content-Type "text/html; charset=utf-8"
		header X-Zone       {http.edge_limit.zone}
		header Cache-Control no-store
	}`)
	for range 3 {
		require.Equal(t, http.StatusOK, c.get("/page").Status)
	}
	got := c.get("/page?{http.edge_limit.zone}")
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	retry := got.Header.Get("Retry-After")
	require.Greater(t, retryAfter(t, got), 1000)
	require.Equal(t, "<p>default rate: "+retry+" /page</p>", string(got.Body))
	require.Equal(t, "text/html; charset=utf-8", got.Header.Get("Content-Type"))
	require.Equal(t, "default", got.Header.Get("X-Zone"))
	require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
	head := c.do(http.MethodHead, "/page", "")
	require.Equal(t, http.StatusServiceUnavailable, head.Status)
	require.Equal(t, strconv.Itoa(len(got.Body)), head.Header.Get("Content-Length"))
}

func TestErrorRoutesRenderARefusal(t *testing.T) {
	t.Parallel()
	const site = `
		{{http "site"}} {
			edge_limit 3/h {
				{{.options}}
			}
			reverse_proxy {{.origin}}
			handle_errors 429 {
				header X-Rendered yes
				respond "slow down: {http.error.status_code} {http.edge_limit.zone} {http.edge_limit.reason} {http.edge_limit.retry_after}"
			}
		}
	`
	c := startLimitedFile(t, site, harness.Vars{"options": ""})
	got := requireAllowed(t, 3, func() *harness.Response { return c.get("/page") })
	require.Equal(t, "yes", got.Header.Get("X-Rendered"))
	require.Greater(t, retryAfter(t, got), 1000)
	require.Equal(t, "slow down: 429 default rate "+got.Header.Get("Retry-After"), string(got.Body))
	require.Equal(t, []member{{"default", map[string]any{"q": int64(3), "w": int64(3600)}}}, rateLimits(t, got, "RateLimit-Policy"))

	require.NoError(t, c.Reload(site, harness.Vars{"options": "respond direct"}))
	direct := c.get("/page")
	require.Empty(t, direct.Header.Get("X-Rendered"))
	requireRefusal(t, direct, "default", 3, 3600, 1000, 1200)
}

func TestRespondErrorWithoutErrorRoutes(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit 3/h {\nrespond error\n}")
	got := requireAllowed(t, 3, func() *harness.Response { return c.get("/page") })
	require.Empty(t, got.Body)
	require.Greater(t, retryAfter(t, got), 1000)
}

func TestLimitIsInFrontOfTheCache(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_cache\nedge_limit 3/h")
	c.origin.Handle("/page", text("stored", minute))
	got := requireAllowed(t, 3, func() *harness.Response { return c.get("/page") })
	requireRefusal(t, got, "default", 3, 3600, 1000, 1200)
	require.Empty(t, cacheStatus(got), "the cache was not asked")
	c.requireArrived("/page", 1)
}
