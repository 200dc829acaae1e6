package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// TestTunnel serves a backend through an agent that connects over TLS, to clients of each
// version of HTTP.
func TestTunnel(t *testing.T) {
	o := origin.Start(t)
	o.HandleFunc("/*", func(r *origin.Request) origin.Reply { return text(r.Method + " " + r.URI + " " + string(r.Body)) })
	e := startTunnel(t, nil)
	a := e.agent("one", o, "--data-conns", "2")
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		got := e.Do(p, "POST", e.URL("site")+"/a%2Fb?c", strings.Repeat("x", 100_000))
		require.Equal(t, 200, got.Status)
		require.Equal(t, "POST /a%2Fb?c "+strings.Repeat("x", 100_000), string(got.Body))
	})
	listed := harness.Run(t, "edge", "tunnel", "agents", "--address", e.AdminAddr())
	require.Zero(t, listed.ExitCode, listed.Stderr)
	require.Regexp(t, `(?m)^one +app +serving +1 +0 +\d+ `, listed.Stdout)
	require.Equal(t, 1, int(e.Metrics()[`caddy_edge_tunnel_agents{backend="app"}`]))

	require.Zero(t, a.Stop(), "it drained")
	e.await(0)
	got := e.Get(harness.H2, e.URL("site")+"/")
	require.Equal(t, 503, got.Status)
	require.Equal(t, "5", got.Header.Get("Retry-After"))
}

// TestTunnelCommands drains, revokes and lets back.
func TestTunnelCommands(t *testing.T) {
	o := origin.Start(t)
	o.Handle("/*", text("ok"))
	e := startTunnel(t, nil)
	e.agent("one", o)
	run := func(args ...string) string {
		t.Helper()
		r := harness.Run(t, append([]string{"edge", "tunnel"}, append(args, "--address", e.AdminAddr())...)...)
		require.Zero(t, r.ExitCode, r.Stderr)
		return r.Stdout
	}
	require.Equal(t, "one gets no more requests\n", run("drain", "one"))
	e.await(0)
	require.Contains(t, run("agents"), "drained, kept away: one")
	require.Equal(t, "one is kept away already\n", run("drain", "one"))
	require.Equal(t, "one: may come back, which it does within 20 seconds\n", run("resume", "one"))
	require.Equal(t, "one: nothing to change\n", run("resume", "one"))
	require.Regexp(t, "^home: revoked(, sessions closed: 1)?\n$", run("revoke", "home"))
	require.Equal(t, "home: nothing to change\n", run("revoke", "home"))
	require.Contains(t, run("agents"), "revoked: home")
	require.Equal(t, "home: allowed\n", run("allow", "home"))
	e.agent("two", o)
	r := harness.Run(t, "edge", "tunnel", "drain", "none", "--address", e.AdminAddr())
	require.NotZero(t, r.ExitCode)
	require.Contains(t, r.Stderr, `there is no such agent \"none\"`)
}

// TestAgentBadFlags wants clear errors, which show no secret.
func TestAgentBadFlags(t *testing.T) {
	for flags, want := range map[string]string{
		"":                               "the edge is missing: name its URL with --edge",
		"--edge https://e":               "there must be a --to for each --backend",
		"--edge https://e --backend app": "there must be a --to for each --backend: got 1 of --backend and 0 of --to",
		"--edge https://e --backend app --to x:1":                              "the token is missing: name its file with --token-file, or set EDGE_TOKEN",
		"--edge https://e --backend app --to x:1 --token-file /no/such":        "open /no/such",
		"--edge e --backend app --to x:1 --token-file /dev/null":               `invalid URL "e"`,
		"--edge https://e --backend App --to x:1 --token-file /dev/null":       `invalid name "App"`,
		"--edge https://e --backend app --to ftp://x --token-file /dev/null":   `invalid address "ftp://x"`,
		"--edge https://e --backend app --to x:1 --token-file /dev/null":       "a token consists of an id, a dot and a secret",
		"--edge https://e --backend app --to x:1 --token-file /dev/null extra": `unknown command "extra"`,
	} {
		r := harness.Run(t, append([]string{"edge", "agent"}, strings.Fields(flags)...)...)
		require.NotZero(t, r.ExitCode, flags)
		require.Contains(t, r.Stderr, want, flags)
	}
}

// tally asks for /METHOD/NUMBER by GET and POST, and counts the statuses of each method.
type tally struct {
	e      *tunnelEdge
	client *http.Client
	all    sync.WaitGroup

	mu       sync.Mutex
	statuses map[string]map[int]int
}

func newTally(e *tunnelEdge) *tally {
	return &tally{e: e, client: e.Client(harness.H2), statuses: map[string]map[int]int{"GET": {}, "POST": {}}}
}

// ask asks n times by each method.
func (c *tally) ask(what string, n int) {
	for i := range n {
		for _, method := range []string{"GET", "POST"} {
			c.all.Go(func() {
				var body io.Reader
				if method == http.MethodPost {
					body = strings.NewReader("body")
				}
				r, err := http.NewRequest(method, fmt.Sprintf("%s/%s/%s/%d", c.e.URL("site"), what, method, i), body)
				if err != nil {
					c.e.t.Error(err)
					return
				}
				resp, err := c.client.Do(r)
				if err != nil {
					c.e.t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body) // the status is what counts
				_ = resp.Body.Close()
				c.mu.Lock()
				c.statuses[method][resp.StatusCode]++
				c.mu.Unlock()
			})
		}
	}
}

// TestAgentKilled ends one of two agents while its backend has requests, and while others
// wait for it.
func TestAgentKilled(t *testing.T) {
	first, second := origin.Start(t), origin.Start(t)
	held := origin.NewGate()
	first.HandleFunc("/*", func(*origin.Request) origin.Reply { return origin.Reply{Body: []byte("first"), HoldHeader: held} })
	second.Handle("/*", text("second"))
	e := startTunnel(t, harness.Vars{"proxy": "lb_policy round_robin"})
	victim := e.agent("first", first)
	e.agent("second", second)
	const each = 40
	under := newTally(e)
	under.ask("under", each)
	require.Eventually(t, func() bool { return len(first.Requests("")) == each }, limit, 5*time.Millisecond, "half of them")
	victim.Signal(syscall.SIGSTOP)
	waiting := newTally(e)
	waiting.ask("waiting", each)
	require.Eventually(t, func() bool { return len(second.Requests("")) == 2*each }, limit, 5*time.Millisecond, "half of all")
	victim.Kill()
	under.all.Wait()
	waiting.all.Wait()
	held.Open()
	require.Equal(t, map[string]map[int]int{"GET": {200: each}, "POST": {200: each}}, waiting.statuses, "nobody had got them")
	// What the backend has got can't be repeated unless it is a GET, and is not.
	posts := 0
	for _, r := range first.Requests("") {
		if r.Method == http.MethodPost {
			posts++
			require.Empty(t, second.Requests(r.Path), "%s was executed twice", r.Path)
		}
	}
	require.Positive(t, posts)
	require.Equal(t, map[string]map[int]int{"GET": {200: each}, "POST": {200: each - posts, 502: posts}}, under.statuses)
}

// TestAgentFrozen stops an agent: its requests fail over or end, and it is let back.
func TestAgentFrozen(t *testing.T) {
	first, second := origin.Start(t), origin.Start(t)
	first.Handle("/*", text("first"))
	second.Handle("/*", text("second"))
	e := startTunnel(t, harness.Vars{"proxy": "lb_policy round_robin"})
	frozen := e.agent("first", first)
	e.agent("second", second)
	frozen.Signal(syscall.SIGSTOP)
	var all sync.WaitGroup
	client := e.Client(harness.H2)
	for range 10 {
		all.Go(func() {
			resp, err := client.Get(e.URL("site") + "/")
			if err != nil {
				t.Error(err)
				return
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if string(body) != "second" {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		})
	}
	all.Wait()
	require.Equal(t, []string{"second"}, e.serving())
	frozen.Signal(syscall.SIGCONT)
	e.await(2)
}

// TestAgentDrains stops an agent under load: nobody sees an error.
func TestAgentDrains(t *testing.T) {
	first, second := origin.Start(t), origin.Start(t)
	first.Handle("/*", text("first"))
	second.Handle("/*", text("second"))
	e := startTunnel(t, harness.Vars{"proxy": "lb_policy round_robin"})
	leaving := e.agent("first", first)
	e.agent("second", second)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var asked atomic.Int64
	client := e.Client(harness.H2)
	for i := range 8 {
		all.Go(func() {
			method := []string{"GET", "POST", "PUT", "DELETE"}[i%4]
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := http.NewRequest(method, e.URL("site")+"/", strings.NewReader("body"))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if asked.Add(1); err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %d %v", method, resp.StatusCode, err)
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return asked.Load() > 100 }, limit, time.Millisecond)
	require.Zero(t, leaving.Stop())
	e.await(1)
	now := asked.Load()
	require.Eventually(t, func() bool { return asked.Load() > now+50 }, limit, time.Millisecond)
	close(stop)
	all.Wait()
}

// TestTunnelBehindEverything has all other features around the tunnel, on the same site
// that the agent connects to.
func TestTunnelBehindEverything(t *testing.T) {
	o := origin.Start(t)
	o.Handle("/fresh", text("fresh", "Cache-Control: max-age=1, stale-if-error=600"))
	o.Handle("/*", text("ok"))
	e := startTunnel(t, harness.Vars{
		"front":  "log\nedge_guard\nedge_limit 1000/s\nedge_waf",
		"behind": "edge_cache\nedge_adaptive\nedge_breaker",
		"proxy":  "lb_policy edge",
	})
	a := e.agent("one", o)
	entry := e.WaitLog(func(entry harness.Entry) bool { return entry["msg"] == "handled request" && entry["status"] == 101. })
	require.NotContains(t, fmt.Sprint(entry), "home.", "the token is not in the log")
	got := e.Get(harness.H2, e.URL("site")+"/fresh")
	require.Equal(t, 200, got.Status)
	require.Contains(t, got.Header.Get("Cache-Status"), "stored")
	got = e.Get(harness.H2, e.URL("site")+"/?q=1%27+union+select+password+from+users--+-")
	require.Equal(t, 403, got.Status)
	entry = e.WaitLog(func(entry harness.Entry) bool { return entry["edge_breaker"] != nil })
	require.Contains(t, entry["edge_breaker"], "edge_tunnel/one.app:1")

	// Without an agent: the breaker refuses, the cache has something stale.
	a.Kill()
	e.await(0)
	got = e.Get(harness.H2, e.URL("site")+"/other")
	require.Equal(t, 503, got.Status)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	require.Eventually(t, func() bool {
		got := e.Get(harness.H2, e.URL("site")+"/fresh")
		return got.Status == 200 && strings.Contains(got.Header.Get("Cache-Status"), "stale")
	}, limit, 50*time.Millisecond)
	_, body := e.Admin(http.MethodGet, "/edge/breaker/backends", nil)
	require.NotContains(t, string(body), "edge_tunnel/-", "nobody is no backend")
}
