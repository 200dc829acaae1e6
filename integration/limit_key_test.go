package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

func TestLimitCountsEachClientAddress(t *testing.T) {
	t.Parallel()
	c := startLimited(t, "edge_limit 3/h")
	for _, source := range []string{"127.0.0.1", "127.0.0.3", "127.0.0.4"} {
		requireAllowed(t, 3, c.through(c.ClientFrom(source), "/page"))
	}
	t.Run("forged by a client", func(t *testing.T) {
		client := c.ClientFrom("127.0.0.3")
		for i := range 5 {
			for _, field := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip"} {
				got := c.in(t).through(client, "/page", fmt.Sprintf("%s: 192.0.2.%d", field, i))()
				require.Equal(t, http.StatusTooManyRequests, got.Status, field)
			}
		}
	})
	t.Run("told by a trusted proxy", func(t *testing.T) {
		c, proxy := c.in(t), c.ClientFrom("127.0.0.2")
		requireAllowed(t, 3, c.through(proxy, "/page", "X-Forwarded-For: 192.0.2.1"))
		requireAllowed(t, 3, c.through(proxy, "/page", "X-Forwarded-For: 192.0.2.2"))
		// The same address in the other family is the same client.
		got := c.through(proxy, "/page", "X-Forwarded-For: ::ffff:192.0.2.1")()
		require.Equal(t, http.StatusTooManyRequests, got.Status)
		requireAllowed(t, 3, c.through(proxy, "/page", "X-Forwarded-For: no address"))
	})
}

func TestLimitGroupsIPv6ByNetwork(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone site 3/h {
			match /site
		}
		zone single 3/h {
			match       /single
			ipv4_prefix 24
			ipv6_prefix 128
		}
		zone outer 3/h {
			match        /outer
			ipv6_prefix  64 48
			outer_factor 2
		}
	}`)
	proxy := c.ClientFrom("127.0.0.2")
	from := func(t *testing.T, path, address string) func() *harness.Response {
		return c.in(t).through(proxy, path, "X-Forwarded-For: "+address)
	}
	t.Run("by default a /64", func(t *testing.T) {
		requireAllowed(t, 3, from(t, "/site", "2001:db8:0:1::1"))
		require.Equal(t, http.StatusTooManyRequests, from(t, "/site", "2001:db8:0:1:ffff:ffff:ffff:ffff")().Status)
		requireAllowed(t, 3, from(t, "/site", "2001:db8:0:2::1"))
	})
	t.Run("other lengths", func(t *testing.T) {
		requireAllowed(t, 3, from(t, "/single", "2001:db8::1"))
		requireAllowed(t, 3, from(t, "/single", "2001:db8::2"))
		requireAllowed(t, 3, from(t, "/single", "192.0.2.1"))
		require.Equal(t, http.StatusTooManyRequests, from(t, "/single", "192.0.2.200")().Status)
		requireAllowed(t, 3, from(t, "/single", "192.0.3.1"))
	})
	t.Run("second level", func(t *testing.T) {
		requireAllowed(t, 3, from(t, "/outer", "2001:db8:5:1::1"))
		requireAllowed(t, 3, from(t, "/outer", "2001:db8:5:2::1"))
		// Twice the burst is what the /48 may have, whatever each /64 has left.
		got := from(t, "/outer", "2001:db8:5:3::1")()
		requireRefusal(t, got, "outer", 6, 3600, 400, 600)
		requireAllowed(t, 3, from(t, "/outer", "2001:db8:6:1::1"))
		require.Zero(t, c.inspect("outer", "2001:db8:5:3::1").Remaining, "the strictest level")
		requireAllowed(t, 3, from(t, "/outer", "192.0.2.1"))
	})
}

func TestLimitKeys(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone header 3/h {
			match /header
			key   {header.X-Api-Key}
		}
		zone cookie 3/h {
			match /cookie
			key   {cookie.session}
		}
		zone path 3/h {
			match /path/*
			key   {path}
		}
		zone both 3/h {
			match /both
			key   "{client_ip} {header.X-Api-Key}"
		}
		zone pair 3/h {
			match /pair
			key   {header.X-One}{header.X-Two}
		}
		zone literal 3/h {
			match /literal
			key   everybody
		}
		zone query 3/h {
			match /query
			key   {http.request.uri.query.user}
		}
		zone host 3/h {
			match /host
			key   {host}
		}
	}`)
	first, second := c.ClientFrom("127.0.0.3"), c.ClientFrom("127.0.0.4")
	refused := func(t *testing.T, send func() *harness.Response) {
		t.Helper()
		require.Equal(t, http.StatusTooManyRequests, send().Status)
	}
	t.Run("header", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/header", "X-Api-Key: a"))
		refused(t, c.through(second, "/header", "X-Api-Key: a"))
		requireAllowed(t, 3, c.through(first, "/header", "X-Api-Key: b"))
		// The origin might take any of several, so they are as good as none.
		third := c.ClientFrom("127.0.0.6")
		requireAllowed(t, 3, c.through(third, "/header", "X-Api-Key: a", "X-Api-Key: c"))
		refused(t, c.through(third, "/header", "X-Api-Key: a", "X-Api-Key: d"))
		refused(t, c.through(first, "/header", "x-api-key: b"))
	})
	t.Run("who sends no header counts by address", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/header"))
		refused(t, c.through(first, "/header", "X-Api-Key:"))
		requireAllowed(t, 3, c.through(second, "/header"))
		// Nobody can spend the limit of an address by naming it.
		requireAllowed(t, 3, c.through(first, "/header", "X-Api-Key: 127.0.0.5"))
		require.Equal(t, http.StatusOK, c.through(c.ClientFrom("127.0.0.5"), "/header")().Status)
	})
	t.Run("cookie", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/cookie", "Cookie: session=a"))
		refused(t, c.through(second, "/cookie", "Cookie: other=x; session=a"))
		requireAllowed(t, 3, c.through(first, "/cookie", "Cookie: session=b"))
		requireAllowed(t, 3, c.through(first, "/cookie", "Cookie: other=x"))
	})
	t.Run("path", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/path/a"))
		refused(t, c.through(second, "/path/a?query"))
		refused(t, c.through(second, "/path/%61"))
		requireAllowed(t, 3, c.through(first, "/path/b"))
	})
	t.Run("address and header", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/both", "X-Api-Key: a"))
		requireAllowed(t, 3, c.through(second, "/both", "X-Api-Key: a"))
		requireAllowed(t, 3, c.through(first, "/both", "X-Api-Key: b"))
		requireAllowed(t, 3, c.through(first, "/both"))
	})
	t.Run("values are kept apart", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/pair", "X-One: ab", "X-Two: c"))
		requireAllowed(t, 3, c.through(first, "/pair", "X-One: a", "X-Two: bc"))
	})
	t.Run("one for all", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/literal"))
		refused(t, c.through(second, "/literal"))
	})
	t.Run("query", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/query?user=a"))
		refused(t, c.through(second, "/query?x=1&user=a"))
		requireAllowed(t, 3, c.through(first, "/query?user=b"))
	})
	t.Run("host", func(t *testing.T) {
		c := c.in(t)
		requireAllowed(t, 3, c.through(first, "/host"))
		refused(t, c.through(second, "/host"))
	})
}

func TestHostileKeysAreBounded(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit 3/h {
		key  {header.X-Api-Key}
		keys 256
	}`)
	slots := c.zones()["default"].Slots
	require.GreaterOrEqual(t, slots, 256)
	client := c.Client(harness.H1)
	send := func(lines ...string) *harness.Response { return c.through(client, "/page", lines...)() }

	// The tail of a long value makes no fresh key.
	long := strings.Repeat("k", 10_000)
	requireAllowed(t, 3, func() *harness.Response { return send("X-Api-Key: " + long) })
	for _, tail := range []string{"1", "22"} {
		require.Equal(t, http.StatusTooManyRequests, send("X-Api-Key: "+long+tail).Status)
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("X-Api-Key: %04d", i))
	}
	requireAllowed(t, 3, func() *harness.Response { return send(many...) })
	requireAllowed(t, 3, func() *harness.Response { return send("X-Api-Key: \xff\xfe \x80") })
	requireAllowed(t, 3, func() *harness.Response { return send(`X-Api-Key: {http.request.uri} "\u0000%00<script>`) })

	// What no client library sends.
	for _, value := range []string{"a\x00b", "\x01", "a\x7fb", "\x00\x00\x00"} {
		resp, _, err := c.raw("GET /page HTTP/1.1\r\nHost: SITE\r\nConnection: close\r\nX-Api-Key: " + value + "\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, "%q", value)
	}

	// A flood of keys neither grows the table nor frees who owes.
	require.Equal(t, http.StatusTooManyRequests, send("X-Api-Key: "+long).Status)
	for i := range 1000 {
		require.Equal(t, http.StatusOK, send(fmt.Sprintf("X-Api-Key: flood-%d", i)).Status)
	}
	require.Equal(t, slots, c.zones()["default"].Slots)
	require.Equal(t, http.StatusTooManyRequests, send("X-Api-Key: "+long).Status)

	var top struct{ Keys []struct{ Key string } }
	c.ask("/edge/limit/top?limit=100", &top)
	require.NotEmpty(t, top.Keys)
	for _, k := range top.Keys {
		require.LessOrEqual(t, len(k.Key), 200)
		require.NotContains(t, k.Key, "kkkk", "what a header holds is shown as a hash")
	}
}
