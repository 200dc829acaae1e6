package integration

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

func TestAdaptiveOverEveryProtocol(t *testing.T) {
	t.Parallel()
	c := startLimitedFile(t, `
		{
			servers {
				protocols h1 h2 h2c h3
			}
		}
		{{http "site"}}, {{https "secure"}} {
			edge_adaptive {
				{{.options}}
			}
			reverse_proxy {{.origin}}
		}
	`, harness.Vars{"options": single + "\nname default"})
	check := func(t *testing.T, p harness.Proto, site string) {
		c := c.in(t)
		send := func(method string) *harness.Response { return c.Do(p, method, c.URL(site)+"/page", "") }
		require.Equal(t, http.StatusOK, send(http.MethodGet).Status)
		c.awaitSlots()
		gate, held := c.hold("/slow", 1)
		before := c.origin.Stats("/page").Arrived
		got := send(http.MethodGet)
		requireOverloaded(t, got, http.StatusServiceUnavailable)
		head := send(http.MethodHead)
		require.Equal(t, http.StatusServiceUnavailable, head.Status)
		require.Equal(t, got.Header.Get("Content-Length"), head.Header.Get("Content-Length"))
		require.Empty(t, head.Body)
		require.Equal(t, http.StatusServiceUnavailable, c.Do(p, http.MethodPost, c.URL(site)+"/page", "content").Status)
		require.Equal(t, before, c.origin.Stats("/page").Arrived, "the origin saw nothing of it")
		gate.Open()
		held.responses()
		c.awaitSlots()
		require.Equal(t, http.StatusOK, send(http.MethodGet).Status)
	}
	t.Run("h1 plain", func(t *testing.T) { check(t, harness.H1, "site") })
	t.Run("h2c", func(t *testing.T) { check(t, harness.H2C, "site") })
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) { check(t, p, "secure") })
}

func TestAdaptiveStatusAndErrorRoutes(t *testing.T) {
	t.Parallel()
	const site = `
		{{http "site"}} {
			edge_adaptive {
				{{.options}}
			}
			reverse_proxy {{.origin}}
			{{.errors}}
		}
	`
	c := startLimitedFile(t, site, harness.Vars{"options": single + "\nstatus 429", "errors": ""})
	gate, held := c.hold("/slow", 1)
	requireOverloaded(t, c.get("/page"), http.StatusTooManyRequests)

	require.NoError(t, c.Reload(site, harness.Vars{"options": single, "errors": `
		handle_errors 503 {
			respond "busy: {err.status_code} {http.edge_adaptive.reason} {http.edge_adaptive.retry_after}"
		}
	`}))
	got := c.get("/page")
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Equal(t, "busy: 503 limit_reached "+got.Header.Get("Retry-After"), string(got.Body))
	gate.Open()
	held.responses()
}

func TestHitsNeitherCountNorAreRefused(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_cache\nedge_adaptive {\n"+single+"\n}")
	c.origin.Handle("/stored", text("stored", minute))
	require.Equal(t, http.StatusOK, c.get("/stored").Status)
	c.awaitSlots()
	gate, held := c.hold("/slow", 1)
	before := c.adaptive()
	require.Equal(t, 1, before.InFlight)
	for range 20 {
		got := c.get("/stored")
		require.Equal(t, "stored", string(got.Body))
		require.Contains(t, cacheStatus(got), "edge; hit")
	}
	after := c.adaptive()
	require.Equal(t, before.Admitted, after.Admitted)
	require.Equal(t, before.Refused, after.Refused)
	requireOverloaded(t, c.get("/missing"), http.StatusServiceUnavailable)
	gate.Open()
	held.responses()
	c.awaitSlots()
	require.Equal(t, http.StatusOK, c.get("/missing").Status, "the refusal was not stored")
}

func TestStaleCopyIsServedWhenTheOriginIsOverloaded(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_cache {\nstale_on_error 1h\n}\nedge_adaptive {\n"+single+"\n}")
	c.origin.Handle("/stored", text("stored", minute, staleMinute, `ETag: "1"`))
	require.Equal(t, "stored", string(c.get("/stored").Body))
	c.awaitSlots()
	gate, held := c.hold("/slow", 1)
	for range 3 {
		got := c.get("/stored")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "stored", string(got.Body))
		require.Empty(t, got.Header.Values("Retry-After"))
		require.Equal(t, []string{"max-age=60"}, got.Header.Values("Cache-Control"))
	}
	requireOverloaded(t, c.get("/missing"), http.StatusServiceUnavailable)
	gate.Open()
	held.responses()
	c.requireArrived("/stored", 1)
}

func TestSlotsComeBack(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, single)
	for _, p := range []harness.Proto{harness.H1, harness.H2C} {
		t.Run("the client leaves, "+string(p), func(t *testing.T) {
			c := c.in(t)
			path := "/leave/" + string(p)
			c.origin.Handle(path, origin.Reply{HoldHeader: origin.NewGate()})
			for i := range 3 {
				ctx, leave := context.WithCancel(t.Context())
				b := sendTogether(t, c.Client(p), 1, func(int) *http.Request { return c.request(http.MethodGet, path).WithContext(ctx) })
				c.origin.WaitArrived(t, path, i+1)
				require.Equal(t, http.StatusServiceUnavailable, c.get("/page").Status)
				leave()
				require.ErrorIs(t, b.wait()[0].err, context.Canceled)
				c.awaitSlots()
			}
			c.requireSlot()
		})
	}
	t.Run("the origin resets", func(t *testing.T) {
		c := c.in(t)
		c.origin.Handle("/reset", origin.Reply{Raw: []byte{}, Ending: origin.Reset})
		for range 3 {
			require.Equal(t, http.StatusBadGateway, c.get("/reset").Status)
			c.awaitSlots()
		}
		c.requireSlot()
	})
	t.Run("the handler panics in the middle of a body", func(t *testing.T) {
		c := c.in(t)
		c.origin.Handle("/cut", origin.Reply{Headers: []string{"Content-Length: 100000"}, Body: origin.Pattern(50_000), Ending: origin.Cut})
		client := c.Client(harness.H1)
		for range 3 {
			_, err := harness.Send(client, c.request(http.MethodGet, "/cut"))
			require.ErrorContains(t, err, "EOF")
			c.awaitSlots()
		}
		c.requireSlot()
	})
	t.Run("an error of a later handler", func(t *testing.T) {
		c := c.in(t)
		c.origin.Handle("/broken", origin.Reply{Raw: []byte("no HTTP\r\n\r\n")})
		for range 3 {
			require.Equal(t, http.StatusBadGateway, c.get("/broken").Status)
			c.awaitSlots()
		}
		c.requireSlot()
	})
}

func TestQueueAdmitsWhenASlotIsFree(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, single+"\nqueue 1 1m")
	gate, held := c.hold("/slow", 1)
	client := c.Client(harness.H1)
	waiting := sendTogether(t, client, 1, func(int) *http.Request { return c.request(http.MethodGet, "/waits") })
	queued := func(n int) {
		t.Helper()
		poll(t, "the length of the queue", func() bool { return c.adaptive().Queued == n })
	}
	queued(1)
	requireOverloaded(t, c.get("/page"), http.StatusServiceUnavailable)
	require.Equal(t, 1, c.adaptive().Refused["queue_full"])
	require.Zero(t, c.origin.Stats("/waits").Arrived)
	gate.Open()
	held.responses()
	require.Equal(t, "ok", string(waiting.responses()[0].Body))
	c.awaitSlots()

	t.Run("a client that leaves makes room", func(t *testing.T) {
		c := c.in(t)
		gate, held := c.hold("/slow2", 1)
		ctx, leave := context.WithCancel(t.Context())
		gone := sendTogether(t, client, 1, func(int) *http.Request { return c.request(http.MethodGet, "/gone").WithContext(ctx) })
		queued(1)
		leave()
		require.ErrorIs(t, gone.wait()[0].err, context.Canceled)
		queued(0)
		next := sendTogether(t, client, 1, func(int) *http.Request { return c.request(http.MethodGet, "/next") })
		queued(1)
		gate.Open()
		held.responses()
		require.Equal(t, "ok", string(next.responses()[0].Body))
		require.Zero(t, c.origin.Stats("/gone").Arrived)
		c.awaitSlots()
	})
	t.Run("the deadline ends the wait", func(t *testing.T) {
		c := c.in(t)
		require.NoError(t, c.Reload(limitedSite, harness.Vars{"limits": "edge_adaptive {\n" + single + "\nqueue 5 50ms\n}"}))
		gate, held := c.hold("/slow3", 1)
		requireOverloaded(t, c.get("/page"), http.StatusServiceUnavailable)
		require.Equal(t, 1, c.adaptive().Refused["queue_deadline"])
		gate.Open()
		held.responses()
	})
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, `
		min     1
		max     100
		initial 10
		p95     30s
		fair_share off
		priority high /health
		priority background /batch
		priority_header X-Priority
	`)
	proxy := c.ClientFrom("127.0.0.2")
	status := func(path string, lines ...string) int { return c.get(path, lines...).Status }
	// The edge counts a request for a moment longer than its client.
	await := func(n int) {
		t.Helper()
		poll(t, "only the held requests are in flight", func() bool { return c.adaptive().InFlight == n })
	}
	five, fiveHeld := c.hold("/five", 5)
	require.Equal(t, http.StatusServiceUnavailable, status("/batch"), "half of the limit")
	require.Equal(t, http.StatusOK, status("/page", "X-Priority: low"))
	await(5)
	eight, eightHeld := c.hold("/eight", 3)
	require.Equal(t, http.StatusServiceUnavailable, status("/page", "X-Priority: low"), "80 % of the limit")
	require.Equal(t, http.StatusOK, status("/page"))
	await(8)
	ten, tenHeld := c.hold("/ten", 2)
	require.Equal(t, http.StatusServiceUnavailable, status("/page"))
	require.Equal(t, http.StatusServiceUnavailable, status("/page", "X-Priority: high"), "nobody puts himself in front")
	require.Equal(t, http.StatusOK, status("/health"))
	await(10)
	require.Equal(t, http.StatusOK, c.through(proxy, "/page", "X-Priority: high")().Status)
	await(10)
	require.Equal(t, http.StatusServiceUnavailable, c.through(proxy, "/page", "X-Priority: highest")().Status)
	for _, g := range []*origin.Gate{five, eight, ten} {
		g.Open()
	}
	fiveHeld.responses()
	eightHeld.responses()
	tenHeld.responses()
}
