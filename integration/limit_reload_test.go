package integration

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

func TestReloadKeepsWhatClientsOwe(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit 3/h")
	client := c.through(c.ClientFrom("127.0.0.3"), "/page")
	reload := func(limits string) {
		t.Helper()
		require.NoError(t, c.Reload(limitedSite, harness.Vars{"limits": limits}))
	}
	refused := func() *harness.Response {
		t.Helper()
		got := client()
		require.Equal(t, http.StatusTooManyRequests, got.Status)
		return got
	}
	requireAllowed(t, 3, client)
	reload("edge_limit 3/h")
	refused()

	t.Run("a rejected reload", func(t *testing.T) {
		before := c.zones()
		for _, limits := range []string{
			// refused by the parser, by the module, and behind it, by another module
			"edge_limit 0/s",
			"edge_limit 3/h {\nexempt 300.0.0.1\n}",
			"edge_limit 1000/h {\nkeys 512\n}\nfile_server {\nprecompressed nonsense\n}",
			"edge_limit {\nwindow 9/h\n}\nfile_server {\nprecompressed nonsense\n}",
		} {
			require.Error(t, c.Reload(limitedSite, harness.Vars{"limits": limits}), limits)
			got := client()
			require.Equal(t, http.StatusTooManyRequests, got.Status, limits)
		}
		reload("edge_limit 3/h")
		refused()
		require.Equal(t, before["default"].Slots, c.zones()["default"].Slots)
		require.Equal(t, before["default"].Denied+5, c.zones()["default"].Denied)
	})
	t.Run("a changed rate applies at once", func(t *testing.T) {
		reload("edge_limit 3600/h {\nburst 3\n}")
		// A debt of three requests at a second each, after which one fits.
		require.LessOrEqual(t, retryAfter(t, c.awaitRefusal(client)), 2)
		reload("edge_limit 1/d {\nburst 1\n}")
		poll(t, "the slower rate refuses", func() bool { return client().Status == http.StatusTooManyRequests })
		reload("edge_limit 3/h")
	})
	t.Run("more zones", func(t *testing.T) {
		c := c.in(t)
		other := c.through(c.ClientFrom("127.0.0.4"), "/page")
		requireAllowed(t, 3, other)
		reload("edge_limit 3/h {\nzone added 2/h {\nkey {header.X-Client}\n}\n}")
		require.Equal(t, http.StatusTooManyRequests, other().Status)
		requireAllowed(t, 2, c.through(c.ClientFrom("127.0.0.5"), "/page", "X-Client: a"))
		reload("edge_limit 3/h")
		require.NotContains(t, c.zones(), "added")
		require.Equal(t, http.StatusTooManyRequests, other().Status)
		// A zone that is made again begins anew.
		reload("edge_limit 3/h {\nzone added 2/h {\nkey {header.X-Client}\n}\n}")
		require.Equal(t, 2, c.inspect("added", "a").Remaining)
	})
	t.Run("another algorithm", func(t *testing.T) {
		c := c.in(t)
		reload("edge_limit {\nwindow 2/h\n}")
		require.Equal(t, "2/h", c.zones()["default"].Window)
		another := c.through(c.ClientFrom("127.0.0.6"), "/page")
		got := requireAllowed(t, 2, another)
		requireRefusal(t, got, "default", 2, 3600, 1, 7200)
		reload("edge_limit {\nwindow 2/h\n}")
		require.Equal(t, http.StatusTooManyRequests, another().Status)

		// A window of another length goes on with what was used.
		reload("edge_limit {\nwindow 2/d\n}")
		require.Equal(t, http.StatusTooManyRequests, another().Status)
		require.Error(t, c.Reload(limitedSite, harness.Vars{"limits": "edge_limit {\nwindow 2/3h\n}\nfile_server {\nprecompressed nonsense\n}"}))
		require.Equal(t, http.StatusTooManyRequests, another().Status)
		reload("edge_limit {\nwindow 3/2h\n}")
		requireAllowed(t, 1, another)
	})
}

// awaitRefusal sends requests until one is refused.
func (c *cachedEdge) awaitRefusal(send func() *harness.Response) *harness.Response {
	c.t.Helper()
	var got *harness.Response
	poll(c.t, "a refusal", func() bool {
		got = send()
		return got.Status == http.StatusTooManyRequests
	})
	return got
}

func TestReloadKeepsConcurrencyAndPenalties(t *testing.T) {
	t.Parallel()
	const limits = `edge_limit {
		zone few {
			key         {header.X-Client}
			concurrency 2
		}
		zone strict 60/m {
			match   /strict
			burst   1
			penalty 1h
		}
	}`
	c := startLimited(t, limits)
	c.awaitRefusal(func() *harness.Response { return c.get("/strict") })
	gate, held := c.hold("/slow", 2, "X-Client: a")
	require.NoError(t, c.Reload(limitedSite, harness.Vars{"limits": limits}))
	require.Equal(t, 2, c.zones()["few"].InFlight)
	require.Equal(t, http.StatusTooManyRequests, c.get("/page", "X-Client: a").Status)
	require.Error(t, c.Reload(limitedSite, harness.Vars{"limits": limits + "\nedge_limit 0/s"}))
	require.Greater(t, retryAfter(t, c.get("/strict", "X-Client: b")), 3000)
	gate.Open()
	held.responses()
	c.awaitIdle("few")
	require.NoError(t, c.Reload(limitedSite, harness.Vars{"limits": limits}))
	require.Greater(t, retryAfter(t, c.get("/strict", "X-Client: b")), 3000)
	// To have many requests at once is no offence.
	require.Equal(t, http.StatusOK, c.get("/page", "X-Client: a").Status)
}

// TestReloadRejectedAtStartChangesNothing has a config rejected after its modules
// were provisioned, while the apps start, in an order that is not fixed.
func TestReloadRejectedAtStartChangesNothing(t *testing.T) {
	t.Parallel()
	const site = `
		{{http "site"}} {
			edge_limit {{.rate}} {
				keys {{.keys}}
			}
			edge_adaptive {
				min 1
				max {{.max}}
				initial 1
			}
			reverse_proxy {{.origin}}
		}
		{{.more}}
	`
	c := startLimitedFile(t, site, harness.Vars{"rate": "3/h", "keys": 256, "max": 2, "more": ""})
	requireAllowed(t, 3, func() *harness.Response { return c.get("/page") })
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer occupied.Close()
	for i := range 6 {
		err := c.Reload(site, harness.Vars{
			"rate": "100/h", "keys": 4096, "max": 9, "more": fmt.Sprintf("http://%s {\nrespond no\n}", occupied.Addr()),
		})
		require.ErrorContains(t, err, "address already in use")
		z := c.zones()["default"]
		require.Equal(t, "3/h", z.Rate, "attempt %d: the admin endpoint shows the running config", i)
		require.Equal(t, 256, z.Slots, "attempt %d", i)
		require.Equal(t, http.StatusTooManyRequests, c.get("/page").Status, "attempt %d", i)
	}
	require.NoError(t, c.Reload(site, harness.Vars{"rate": "3/h", "keys": 256, "max": 2, "more": ""}))
	require.Equal(t, http.StatusTooManyRequests, c.get("/page").Status, "the debt is still there")
	requireRefusal(t, c.get("/page"), "default", 3, 3600, 1000, 1200)
}

func TestSitesShareOnlyZonesOfOneName(t *testing.T) {
	t.Parallel()
	const sites = `
		{{http "site"}} {
			{{.first}}
			reverse_proxy {{.origin}}
		}
		{{http "other"}} {
			{{.second}}
			reverse_proxy {{.origin}}
		}
	`
	c := startLimitedFile(t, sites, harness.Vars{"first": "edge_limit 3/h", "second": "edge_limit 3/h"})
	other := func() *harness.Response { return c.Get(harness.H1, c.URL("other")+"/page") }
	site := func() *harness.Response { return c.get("/page") }
	requireAllowed(t, 3, site)
	got := requireAllowed(t, 3, other)
	requireRefusal(t, got, "default-2", 3, 3600, 1000, 1200)

	t.Run("a named zone is one", func(t *testing.T) {
		named := "edge_limit {\nzone shared 3/h\n}"
		require.NoError(t, c.Reload(sites, harness.Vars{"first": named, "second": named}))
		requireAllowed(t, 3, site)
		require.Equal(t, http.StatusTooManyRequests, other().Status)
		require.Len(t, c.zones(), 1)
	})
	t.Run("it has one definition", func(t *testing.T) {
		for _, second := range []string{
			"edge_limit {\nzone shared 4/h\n}",
			"edge_limit {\nzone shared 3/h {\nburst 2\n}\n}",
			"edge_limit {\nzone shared 3/h {\nexempt 192.0.2.1\n}\n}",
			"edge_limit {\nzone shared {\nwindow 3/h\n}\n}",
		} {
			err := c.Reload(sites, harness.Vars{"first": "edge_limit {\nzone shared 3/h\n}", "second": second})
			require.ErrorContains(t, err, "edge_limit: zone shared: defined twice", second)
		}
		require.Equal(t, http.StatusTooManyRequests, site().Status)
	})
	t.Run("twice in one site", func(t *testing.T) {
		require.NoError(t, c.Reload(sites, harness.Vars{"first": "edge_limit 3/h\nedge_limit 5/h", "second": "edge_limit 7/h"}))
		require.Len(t, c.zones(), 3)
	})
}
