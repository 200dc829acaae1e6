package integration

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

func TestADenialByOneZoneDoesNotChargeTheOthers(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone wide 5/h
		zone login 2/h {
			match /login
		}
		zone window {
			window 6/h
		}
		zone few {
			concurrency 5
		}
	}`)
	me := func(zone string) int { return c.in(t).inspect(zone, "127.0.0.1").Remaining }
	got := requireAllowed(t, 2, func() *harness.Response { return c.get("/login") })
	requireRefusal(t, got, "login", 2, 3600, 1500, 1800)
	for range 10 {
		require.Equal(t, http.StatusTooManyRequests, c.get("/login").Status)
	}
	require.Equal(t, 3, me("wide"))
	require.Equal(t, 4, me("window"))
	require.Zero(t, c.zones()["few"].InFlight)
	requireAllowed(t, 3, func() *harness.Response { return c.get("/page") })
	require.Equal(t, 1, me("window"))
	// Two zones refuse: the one that takes longer is told.
	got = c.get("/login")
	require.Equal(t, []member{{"login", map[string]any{"q": int64(2), "w": int64(3600)}}}, rateLimits(t, got, "RateLimit-Policy"))
	c.requireArrived("/login", 2)
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `
		edge_limit {
			concurrency 2
			key {header.X-Client}
		}
		abort /abort
	`)
	status := func(path string) int { return c.get(path, "X-Client: a").Status }
	in := func(t *testing.T, f func(t *testing.T, c *cachedEdge)) {
		t.Helper()
		f(t, c.in(t))
		c := c.in(t)
		c.awaitIdle("default")
		// Both slots are free again.
		gate, held := c.hold("/after", 2, "X-Client: a")
		require.Equal(t, http.StatusTooManyRequests, status("/page"))
		gate.Open()
		held.responses()
		c.awaitIdle("default")
	}
	t.Run("the next is refused until one ends", func(t *testing.T) {
		in(t, func(t *testing.T, c *cachedEdge) {
			gate, held := c.hold("/slow", 2, "X-Client: a")
			got := c.get("/page", "X-Client: a")
			require.Equal(t, http.StatusTooManyRequests, got.Status)
			require.Equal(t, 1, retryAfter(t, got))
			require.Equal(t, http.StatusOK, c.get("/page", "X-Client: b").Status)
			require.Equal(t, 2, c.inspect("default", "a").InFlight)
			poll(t, "the other client has no request any more", func() bool { return c.inspect("default", "b").InFlight == 0 })
			gate.Step(1)
			poll(t, "a slot is free", func() bool { return status("/page") == http.StatusOK })
			gate.Open()
			held.responses()
		})
	})
	for _, p := range []harness.Proto{harness.H1, harness.H2C} {
		t.Run("the client leaves, "+string(p), func(t *testing.T) {
			in(t, func(t *testing.T, c *cachedEdge) {
				path := "/leave/" + string(p)
				c.origin.Handle(path, origin.Reply{HoldHeader: origin.NewGate()})
				ctx, leave := context.WithCancel(t.Context())
				b := sendTogether(t, c.Client(p), 2, func(int) *http.Request {
					return c.request(http.MethodGet, path, "X-Client: a").WithContext(ctx)
				})
				c.origin.WaitArrived(t, path, 2)
				require.Equal(t, http.StatusTooManyRequests, status("/page"))
				leave()
				for _, o := range b.wait() {
					require.ErrorIs(t, o.err, context.Canceled)
				}
			})
		})
	}
	t.Run("the origin resets", func(t *testing.T) {
		in(t, func(t *testing.T, c *cachedEdge) {
			c.origin.Handle("/reset", origin.Reply{Raw: []byte{}, Ending: origin.Reset})
			for range 3 {
				require.Equal(t, http.StatusBadGateway, status("/reset"))
			}
		})
	})
	t.Run("the handler panics in the middle of a body", func(t *testing.T) {
		in(t, func(t *testing.T, c *cachedEdge) {
			c.origin.Handle("/cut", origin.Reply{Headers: []string{"Content-Length: 100000"}, Body: origin.Pattern(50_000), Ending: origin.Cut})
			client := c.Client(harness.H1)
			for range 3 {
				_, err := harness.Send(client, c.request(http.MethodGet, "/cut", "X-Client: a"))
				require.ErrorContains(t, err, "EOF")
			}
		})
	})
	t.Run("the handler panics before the header", func(t *testing.T) {
		in(t, func(t *testing.T, c *cachedEdge) {
			client := c.Client(harness.H1)
			for range 3 {
				_, err := harness.Send(client, c.request(http.MethodGet, "/abort", "X-Client: a"))
				require.ErrorContains(t, err, "EOF")
			}
		})
	})
	t.Run("a WebSocket holds its slot until it closes", func(t *testing.T) {
		in(t, func(t *testing.T, c *cachedEdge) {
			c.echo("/socket")
			first, second := c.socket("/socket", "X-Client: a"), c.socket("/socket", "X-Client: a")
			require.Equal(t, http.StatusTooManyRequests, status("/page"))
			require.NoError(t, first.Close())
			poll(t, "a slot is free", func() bool { return status("/page") == http.StatusOK })
			require.NoError(t, second.Close())
		})
	})
	t.Run("refused requests hold none", func(t *testing.T) {
		in(t, func(t *testing.T, c *cachedEdge) {
			gate, held := c.hold("/slow2", 2, "X-Client: a")
			for range 20 {
				require.Equal(t, http.StatusTooManyRequests, status("/page"))
			}
			gate.Open()
			held.responses()
		})
	})
}

// echo makes the origin answer a path as a WebSocket that repeats lines.
func (c *cachedEdge) echo(path string) {
	c.origin.Handle(path, origin.Reply{Takeover: func(_ net.Conn, rw *bufio.ReadWriter) {
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			_ = rw.Flush()
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString("echo " + line)
		}
	}})
}

// socket opens a WebSocket and sees that it repeats a line.
func (c *cachedEdge) socket(path string, lines ...string) net.Conn {
	c.t.Helper()
	conn := c.Dial("site")
	require.NoError(c.t, conn.SetDeadline(time.Now().Add(limit)))
	request := "GET " + path + " HTTP/1.1\r\nHost: " + c.host() + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	for _, line := range lines {
		request += line + "\r\n"
	}
	_, err := io.WriteString(conn, request+"\r\n")
	require.NoError(c.t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(c.t, err)
	require.Equal(c.t, http.StatusSwitchingProtocols, resp.StatusCode)
	_, err = io.WriteString(conn, "word\n")
	require.NoError(c.t, err)
	line, err := r.ReadString('\n')
	require.NoError(c.t, err)
	require.Equal(c.t, "echo word\n", line)
	return conn
}

func TestPenalty(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit 60/m {
		key     {header.X-Client}
		burst   2
		penalty 1h
	}`)
	refused := func(client string) *harness.Response {
		var got *harness.Response
		poll(t, "a refusal", func() bool {
			got = c.get("/page", "X-Client: "+client)
			return got.Status == http.StatusTooManyRequests
		})
		return got
	}
	refused("a")
	// The rate alone would give way in a second.
	s := c.inspect("default", "a")
	require.False(t, s.Allowed)
	require.Greater(t, s.Penalty, 3500.0)
	require.Equal(t, 1, c.zones()["default"].Penalties)
	poll(t, "the rate has room", func() bool { return c.inspect("default", "a").Remaining > 0 })
	require.Greater(t, retryAfter(t, refused("a")), 3500)
	require.Equal(t, http.StatusOK, c.get("/page", "X-Client: b").Status)

	status, body := c.Admin(http.MethodPost, "/edge/limit/reset", map[string]any{"key": []string{"a"}})
	require.Equal(t, http.StatusOK, status, string(body))
	require.Equal(t, http.StatusOK, c.get("/page", "X-Client: a").Status)
	require.Zero(t, c.zones()["default"].Penalties)
}

func TestCountByStatus(t *testing.T) {
	t.Parallel()
	c := startLimitedFile(t, `
		{{http "site"}} {
			edge_limit {
				zone failures 2/h {
					key   {header.X-Client}
					count status 401 5xx
				}
			}
			error /error 401
			error /hidden 401
			basic_auth /auth {
				user $2a$04$dPSKejDcEbWTJZwGd3xd6OiMBwbCsrkiMb3qFzRYHXUWmYTFIJQyi
			}
			reverse_proxy /dead {{.dead}}
			reverse_proxy {{.origin}}
			handle_errors {
				@hidden path /hidden
				respond @hidden "all is well" 200
				respond "page {err.status_code}" {err.status_code}
			}
		}
	`, harness.Vars{"dead": "127.0.0.1:1"})
	c.origin.Handle("/denied", origin.Reply{Status: http.StatusUnauthorized})
	c.origin.Handle("/missing", origin.Reply{Status: http.StatusNotFound})
	c.origin.Handle("/hint", origin.Reply{Status: http.StatusUnauthorized, Interim: []origin.Interim{{Status: 103}}})
	for path, want := range map[string]int{
		"/denied": http.StatusUnauthorized, "/hint": http.StatusUnauthorized, "/error": http.StatusUnauthorized,
		"/auth": http.StatusUnauthorized, "/dead": http.StatusBadGateway,
	} {
		t.Run(path, func(t *testing.T) {
			c, me := c.in(t), "X-Client: "+path
			// What does not count may come in any number.
			for range 6 {
				require.Equal(t, http.StatusOK, c.get("/page", me).Status)
				require.Equal(t, http.StatusNotFound, c.get("/missing", me).Status)
			}
			for range 2 {
				require.Equal(t, want, c.get(path, me).Status)
			}
			for _, then := range []string{path, "/page"} {
				got := c.get(then, me)
				require.Equal(t, http.StatusTooManyRequests, got.Status, then)
				require.Equal(t, "page 429", string(got.Body))
				require.Greater(t, retryAfter(t, got), 1500)
			}
		})
	}
	t.Run("by what the handlers answered, whatever the error page says", func(t *testing.T) {
		c, me := c.in(t), "X-Client: hidden"
		for range 2 {
			require.Equal(t, "all is well", string(c.get("/hidden", me).Body))
		}
		require.Equal(t, http.StatusTooManyRequests, c.get("/page", me).Status)
	})
}

func TestCost(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `edge_limit {
		zone fixed 10/h {
			match /fixed
			cost  4
		}
		zone asked 10/h {
			match /asked
			key   {header.X-Client}
			cost  {header.X-Cost}
		}
	}`)
	got := requireAllowed(t, 2, func() *harness.Response { return c.get("/fixed") })
	// Two of the four are there, the others come every six minutes.
	requireRefusal(t, got, "fixed", 10, 3600, 600, 720)
	require.Equal(t, 2, c.inspect("fixed", "127.0.0.1").Remaining)
	for value, left := range map[string]int{
		"3": 7, "10": 0, "1000000": 0, "99999999999999999999": 0, "0": 9, "-5": 9, "": 9, "x": 9, "2.5": 9, "0x3": 9,
	} {
		client := "cost " + value + " of it"
		require.Equal(t, http.StatusOK, c.get("/asked", "X-Client: "+client, "X-Cost: "+value).Status, value)
		require.Equal(t, left, c.inspect("asked", client).Remaining, value)
	}
}

func TestExemptions(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `
		@health {
			path /health
			method GET
		}
		edge_limit 3/h {
			exempt 127.0.0.4 192.0.2.0/24 2001:db8::/32
			exempt @health
			exempt /static/*
		}
	`)
	first, proxy := c.ClientFrom("127.0.0.3"), c.ClientFrom("127.0.0.2")
	pass := func(name string, client *http.Client, path string, lines ...string) {
		for range 6 {
			require.Equal(t, http.StatusOK, c.through(client, path, lines...)().Status, name)
		}
	}
	pass("address", c.ClientFrom("127.0.0.4"), "/page")
	pass("CIDR", proxy, "/page", "X-Forwarded-For: 192.0.2.77")
	pass("IPv6 CIDR", proxy, "/page", "X-Forwarded-For: 2001:db8::1")
	pass("mapped address", proxy, "/page", "X-Forwarded-For: ::ffff:192.0.2.77")
	pass("matcher", first, "/health")
	pass("path", first, "/static/a.css")
	requireAllowed(t, 3, c.through(first, "/page", "X-Forwarded-For: 192.0.2.77"))
	requireAllowed(t, 3, func() *harness.Response { return c.do(http.MethodPost, "/health", "") })
	requireAllowed(t, 3, c.through(proxy, "/page", "X-Forwarded-For: 192.0.3.1"))
}
