package edgebreaker

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// pool is a site with several backends.
func pool(options, proxy string, addresses ...string) string {
	return "edge_breaker {\n" + options + "\n}\nreverse_proxy " + strings.Join(addresses, " ") + " {\n" + proxy + "\n}"
}

// retryStatus makes the proxy send a request again for its status.
const retryStatus = "lb_retry_match {\nexpression `{rp.status_code} in [500, 502, 503, 504]`\n}\n"

// TestAllOpen: the proxy's try duration is not waited for.
func TestAllOpen(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("max_ejection 100%", "lb_policy edge\nlb_try_duration 1h", a.address, b.address))
	force(t, breaker.ForceOpen, a.address, b.address)
	r := g.get("/") // would take an hour
	require.Equal(t, 503, r.status)
	require.Equal(t, "30", r.header.Get("Retry-After"))
	require.Zero(t, a.asked.Load()+b.asked.Load())
}

func force(t *testing.T, mode breaker.Mode, addresses ...string) {
	for _, address := range addresses {
		b := backend(t, address)
		b.Force(time.Now(), mode)
		t.Cleanup(func() { b.Force(time.Now(), breaker.Auto) })
	}
}

// TestRetriesEnd: the client gets the failure that there was.
func TestRetriesEnd(t *testing.T) {
	const proxy = "lb_policy edge\nlb_retries 5\n" + retryStatus
	for _, test := range []struct {
		name, options, method string
		handle                http.HandlerFunc
		status, asked         int
	}{
		{"budget", "retry_budget 100% 0", "GET", status(500), 500, 2},
		{"no budget", "retry_budget 0 0", "GET", status(502), 502, 1},
		{"method", "", "POST", status(503), 503, 1},
		{"chosen method", "retry_methods POST", "POST", status(500), 500, 5},
		{"any method", "retry_methods any", "PATCH", status(500), 500, 5},
		{"timeout", "header_timeout 10ms\nretry_budget 0 0", "GET", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 504, 1},
		{"reset", "retry_budget 0 0", "GET", hijacked(""), 502, 1},
		{"opens meanwhile", "failures 2", "GET", status(500), 500, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newOrigin(t, "a")
			a.serve(test.handle)
			g := newRig(t)
			g.load(pool(test.options, proxy, a.address))
			require.Equal(t, test.status, g.do(test.method, "/", nil).status)
			require.EqualValues(t, test.asked, a.asked.Load())
		})
	}
	t.Run("a dial error is always retried", func(t *testing.T) {
		a := newOrigin(t, "a")
		g := newRig(t)
		g.load(pool("", proxy, deadAddress(t), a.address))
		for range 4 {
			require.Equal(t, 200, g.do("POST", "/", strings.NewReader("x")).status)
		}
	})
}

// TestRetrySnippet: it does what it says, and a request that succeeds has nothing to
// log.
func TestRetrySnippet(t *testing.T) {
	text, err := os.ReadFile("../caddyfile/snippets/retry-status.caddyfile")
	require.NoError(t, err)
	_, snippet, ok := strings.Cut(string(text), "(edge_retry) {\n")
	require.True(t, ok)
	snippet = strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(snippet), "}"), "{args[0]}", "2")
	a, b, reset := newOrigin(t, "a"), newOrigin(t, "b"), newOrigin(t, "reset")
	g := newRig(t)
	g.log = filepath.Join(g.dir, "log")
	g.load(pool("failures 100\nretry_budget 100%", "lb_policy edge\n"+snippet, a.address, b.address))
	for range 4 {
		require.Equal(t, 200, g.get("/").status)
	}
	require.NotContains(t, g.logged(), `"level":"error"`)

	a.status(503, "")
	b.status(200, "")
	require.Equal(t, []int{200, 200, 200, 200}, g.codes(4))
	reset.serve(hijacked(""))
	g.client.CloseIdleConnections() // a DELETE on one of the old config is not sent again
	g.load(pool("failures 100\nretry_budget 100%", "lb_policy edge\n"+snippet, reset.address, b.address))
	for range 4 {
		require.Equal(t, 200, g.do("DELETE", "/", nil).status, "the connection broke")
	}
	require.Positive(t, reset.asked.Load())
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// TestBodyIsGone: a body that a backend has read can't be sent to another, which
// must not look ill for it. With request_buffers it can.
func TestBodyIsGone(t *testing.T) {
	for _, test := range []struct {
		buffers string
		status  int
	}{{"", 502}, {"request_buffers 1KiB", 200}} {
		a, b := newOrigin(t, "a"), newOrigin(t, "b")
		g := newRig(t)
		g.load(pool("failures 1\nmax_ejection 100%", "lb_policy edge\nlb_retries 3\nlb_retry_match {\nmethod PUT\n}\n"+test.buffers, a.address, b.address))
		a.serve(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		})
		b.serve(drain)
		require.Equal(t, test.status, g.do("PUT", "/", strings.NewReader("some text")).status)
		require.EqualValues(t, 1, a.asked.Load())
		requireState(t, a.address, breaker.Open)
		requireState(t, b.address, breaker.Closed)
		require.Equal(t, 200, g.do("PUT", "/", strings.NewReader("some text")).status)
	}
}

// TestBodyComesLate: who had the connection may still read of a body that has not
// begun to come, so another backend gets none of it.
func TestBodyComesLate(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("failures 9", "lb_policy edge\nlb_retries 3\n"+retryStatus, a.address, b.address))
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = http.NewResponseController(w).Flush()
	}
	a.serve(refuse)
	b.serve(refuse)
	c, err := net.Dial("unix", g.socket())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: edge\r\nContent-Length: 10\r\n\r\n")
	require.NoError(t, err)
	eventually(t, func() bool { return a.asked.Load()+b.asked.Load() > 0 })
	_, err = io.WriteString(c, "0123456789") // without it the server answers nothing
	require.NoError(t, err)
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, " 503 ")
	require.EqualValues(t, 1, a.asked.Load()+b.asked.Load())
}

// TestWeights: they stay exact when a backend is missing.
func TestWeights(t *testing.T) {
	a, b, c := newOrigin(t, "a"), newOrigin(t, "b"), newOrigin(t, "c")
	g := newRig(t)
	g.load(pool("", "lb_policy edge {\nweights 1 1 2\n}", a.address, b.address, c.address))
	require.Equal(t, slices.Repeat([]int{200}, 40), g.codes(40))
	require.Equal(t, []int64{10, 10, 20}, []int64{a.asked.Load(), b.asked.Load(), c.asked.Load()})
	force(t, breaker.ForceOpen, a.address)
	require.Equal(t, slices.Repeat([]int{200}, 30), g.codes(30))
	require.InDelta(t, 20, b.asked.Load(), 1)
	require.InDelta(t, 40, c.asked.Load(), 1)
	require.EqualValues(t, 10, a.asked.Load())
}

func TestMethods(t *testing.T) {
	for _, method := range []string{"wrr", "least_conn", "p2c"} {
		t.Run(method, func(t *testing.T) {
			a, b := newOrigin(t, "a"), newOrigin(t, "b")
			g := newRig(t)
			g.load(pool("", "lb_policy edge "+method, a.address, b.address))
			require.Equal(t, slices.Repeat([]int{200}, 40), g.codes(40))
			require.NotZero(t, a.asked.Load())
			require.NotZero(t, b.asked.Load())
		})
	}
}

// TestMaxEjection: a fault that all share does not take all out.
func TestMaxEjection(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("failures 1", "lb_policy edge", a.address, b.address))
	a.status(500, "")
	b.status(500, "")
	require.Equal(t, slices.Repeat([]int{500}, 20), g.codes(20))
	requireState(t, a.address, breaker.Open)
	requireState(t, b.address, breaker.Open)
}

// TestMaxEjectionCountsUnhealthy: health checks and breakers together never leave
// nobody.
func TestMaxEjectionCountsUnhealthy(t *testing.T) {
	var addresses []string
	for range 2 {
		o := newOrigin(t, "")
		o.status(500, "") // which these checks like
		addresses = append(addresses, o.address)
	}
	dead := deadAddress(t)
	addresses = append(addresses, dead, deadAddress(t))
	g := newRig(t)
	g.load(pool("failures 1", "lb_policy edge\nhealth_uri /\nhealth_interval 1h\nhealth_status 5xx", addresses...))
	eventually(t, func() bool {
		g.get("/")
		return membersAt(dead)[0].down() && membersAt(addresses[3])[0].down()
	})
	require.Equal(t, slices.Repeat([]int{500}, 12), g.codes(12))
	requireState(t, addresses[0], breaker.Open)
	requireState(t, addresses[1], breaker.Open)
}

// TestHalfOpen: a stream gives its slot back at its header, and is a success as
// long as nothing breaks it off.
func TestHalfOpen(t *testing.T) {
	for _, test := range []struct {
		name   string
		stream http.HandlerFunc
		ask    func(g *rig) io.Closer
	}{
		{"events", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, func(g *rig) io.Closer {
			r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, "http://edge/", nil)
			require.NoError(g.t, err)
			res, err := g.client.Do(r)
			require.NoError(g.t, err)
			require.Equal(g.t, 200, res.StatusCode)
			return res.Body
		}},
		{"websocket", func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = rw.ReadByte() // until the client leaves
		}, func(g *rig) io.Closer {
			c, err := net.Dial("unix", g.socket())
			require.NoError(g.t, err)
			_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			require.NoError(g.t, err)
			line, err := bufio.NewReader(c).ReadString('\n')
			require.NoError(g.t, err)
			require.Equal(g.t, "HTTP/1.1 101 Switching Protocols\r\n", line)
			return c
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newOrigin(t, "a")
			g := newRig(t)
			g.load(site("failures 1\nopen 1ms 1ms\nprobes 1\nsuccesses 3", a.address, ""))
			a.status(500, "")
			require.Equal(t, 500, g.get("/").status)
			eventually(t, func() bool { return backend(t, a.address).Ready(time.Now(), &breaker.Config{Probes: 1}) })
			a.serve(test.stream)
			defer test.ask(g).Close()
			requireState(t, a.address, breaker.HalfOpen)
			require.Zero(t, backend(t, a.address).Status(time.Now()).Probes)
			a.status(200, "")
			require.Equal(t, []int{200, 200, 200}, g.codes(3))
			eventually(t, func() bool { return backend(t, a.address).State() == breaker.Closed })
		})
	}
}

// TestProbes: there are never more than allowed.
func TestProbes(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load(site("failures 1\nopen 1ms 1ms\nprobes 2\nsuccesses 2", a.address, ""))
	a.status(500, "")
	require.Equal(t, 500, g.get("/").status)
	eventually(t, func() bool { return backend(t, a.address).Ready(time.Now(), &breaker.Config{Probes: 1}) })
	asked := a.asked.Load()
	probe, release := holding("/probe")
	defer release()
	a.serve(probe)
	codes := make(chan int, 20)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { codes <- g.get("/probe").status })
	}
	for range 18 {
		select {
		case code := <-codes:
			require.Equal(t, 503, code)
		case <-time.After(20 * time.Second):
			require.Fail(t, "more than 2 wait for the backend")
		}
	}
	release()
	wg.Wait()
	require.Equal(t, []int{200, 200}, []int{<-codes, <-codes})
	require.EqualValues(t, 2, a.asked.Load()-asked)
	requireState(t, a.address, breaker.Closed)
}

// TestStreamingCounts: after a while a stream is a success.
func TestStreamingCounts(t *testing.T) {
	h := &Handler{}
	rec := &record{
		handler: h, base: t.Context(), phase: streaming, verdict: breaker.Success,
		header: time.Now().Add(-streamFor), began: time.Now().Add(-time.Hour),
	}
	rec.writer.wrote = true
	b := breaker.New("x", nil)
	rec.attempt, _, _ = b.Enter(time.Now(), &breaker.Config{Failures: 1})
	rec.attempt.Header(time.Now(), 0, breaker.Success)
	rec.ring()
	require.Equal(t, judged, rec.phase)
	rec.tries.add(try{backend: b, counters: countersOf("x")})
	rec.settle(time.Now(), nil, true) // it breaks off later
	require.Equal(t, breaker.Closed, b.State())
	require.Zero(t, b.Active())
}

// TestHealthChecks: both must agree, and the ramp begins when they have.
func TestHealthChecks(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	healthy := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				w.WriteHeader(code)
			}
		}
	}
	a.serve(healthy(200))
	b.serve(healthy(200))
	g := newRig(t)
	g.load(pool("slow_start 50% each 1h", "lb_policy edge\nhealth_uri /health\nhealth_interval 5ms", a.address, b.address))
	a.serve(healthy(500))
	eventually(t, func() bool {
		g.get("/")
		for _, m := range membersAt(a.address) {
			if m.down() {
				return true
			}
		}
		return false
	})
	a.serve(healthy(200))
	eventually(t, func() bool {
		g.get("/")
		return backend(t, a.address).Share(time.Now(), &breaker.Config{Ramp: breaker.Ramp{Shares: []float64{0.5}, Each: time.Hour}}) == 0.5
	})
	require.Equal(t, breaker.Closed, backend(t, a.address).State())
}

// TestRecoveryIsNoticedOnce: a proxy that notices it late does not begin slow start
// again, for all.
func TestRecoveryIsNoticedOnce(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load("handle /one {\n" + pool("slow_start 25% each 10ms", "lb_policy edge", a.address, b.address) + "\n}\nhandle {\n" +
		pool("slow_start 25% each 10ms", "lb_policy edge", a.address) + "\n}")
	require.Len(t, membersAt(a.address), 2)
	long := time.Now().Add(-time.Hour)
	for _, m := range membersAt(a.address) {
		m.sawDown(long)
	}
	share := func() float64 {
		return backend(t, a.address).Share(time.Now(), &breaker.Config{Ramp: breaker.Ramp{Shares: []float64{0.25}, Each: 10 * time.Millisecond}})
	}
	require.Equal(t, 200, g.get("/one").status)
	require.Less(t, backend(t, a.address).Share(time.Now(), &breaker.Config{Ramp: breaker.Ramp{Shares: []float64{0.25}, Each: time.Hour}}), 1.0)
	eventually(t, func() bool { return share() == 1 })
	require.Equal(t, 200, g.get("/two").status)
	require.InDelta(t, 1, share(), 1e-9)
}

// membersAt returns what the policies know of an address.
func membersAt(address string) (found []*member) {
	policies.Range(func(key, _ any) bool {
		for _, m := range key.(*Policy).table.members() {
			if m.address == address {
				found = append(found, m)
			}
		}
		return true
	})
	return found
}

// TestUnavailable: what health checks take out is waited for as long as the proxy
// says, and then there is something to say about it.
func TestUnavailable(t *testing.T) {
	g := newRig(t)
	g.load(pool("failures 100", "lb_policy edge\nfail_duration 1h", deadAddress(t)))
	require.Equal(t, 502, g.get("/").status)
	r := g.get("/")
	require.Equal(t, 503, r.status)
	require.Equal(t, "1", r.header.Get("Retry-After"))
}

// TestStickyCookie: the cookie decides first, and what it does not decide is ours.
func TestStickyCookie(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("failures 1", "lb_policy cookie lb {\nfallback edge\n}", a.address, b.address))
	r := g.get("/")
	require.Equal(t, 200, r.status)
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	for range 4 {
		again := g.get("/", "Cookie: "+cookie)
		require.Equal(t, r.body, again.body)
	}
	force(t, breaker.ForceOpen, a.address, b.address)
	refused := g.get("/")
	require.Equal(t, 503, refused.status)
	require.Empty(t, refused.header["Set-Cookie"], "for no backend")
}

// TestWithoutBreaker: the policy alone balances.
func TestWithoutBreaker(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load("reverse_proxy " + a.address + " " + b.address + " {\nlb_policy edge {\nweights 1 3\n}\n}")
	require.Equal(t, slices.Repeat([]int{200}, 8), g.codes(8))
	require.Equal(t, []int64{2, 6}, []int64{a.asked.Load(), b.asked.Load()})
}

// TestRoute: with another policy the route as a whole is guarded.
func TestRoute(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load("edge_breaker {\nname shop\nfailures 2\n}\nreverse_proxy " + a.address)
	require.Equal(t, 200, g.get("/").status)
	a.status(500, "")
	require.Equal(t, []int{500, 500, 503}, g.codes(3))
	requireState(t, "route shop", breaker.Open)
	force(t, breaker.ForceClosed, "route shop")
	require.Equal(t, 500, g.get("/").status)
}

// TestMixed: where some proxies ask and others do not, no other is refused for
// them.
func TestMixed(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load("edge_breaker {\nfailures 1\n}\nreverse_proxy /b " + b.address + "\nreverse_proxy " + a.address + " {\nlb_policy edge\n}")
	b.status(500, "")
	for range 3 {
		require.Equal(t, 500, g.get("/b").status)
		require.Equal(t, 200, g.get("/").status)
	}
	a.status(500, "")
	require.Equal(t, []int{500, 503}, g.codes(2))
}

// TestNested: the record of a proxy inside belongs to the breaker inside.
func TestNested(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load("edge_breaker {\nfailures 1\n}\nreverse_proxy " + a.address + ` {
	lb_policy edge
	@sub status 202
	handle_response @sub {
		route {
			edge_breaker {
				failures 2
			}
			reverse_proxy ` + b.address + ` {
				lb_policy edge
			}
		}
	}
}`)
	a.status(202, "")
	b.status(500, "")
	require.Equal(t, []int{500, 500, 503}, g.codes(3))
	requireState(t, a.address, breaker.Closed)
	requireState(t, b.address, breaker.Open)
}

// TestPlainProxyInside: what another proxy gets for a response of ours is not held
// against our backend.
func TestPlainProxyInside(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(site("failures 1", a.address, "@sub status 202\nhandle_response @sub {\nreverse_proxy "+b.address+"\n}"))
	a.status(202, "")
	b.status(500, "")
	require.Equal(t, []int{500, 500}, g.codes(2))
	requireState(t, a.address, breaker.Closed)
	b.status(200, "")
	require.Equal(t, 200, g.get("/").status)
}

// TestSlowProxyInside: that the other one takes long is no news of ours either.
func TestSlowProxyInside(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(site("failures 1\nheader_timeout 50ms", a.address, "@sub status 202\nhandle_response @sub {\nreverse_proxy "+b.address+"\n}"))
	a.status(202, "")
	b.serve(func(w http.ResponseWriter, _ *http.Request) {
		for range 10 { // the alarm rings while it answers
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			<-time.After(20 * time.Millisecond)
		}
	})
	r := g.get("/")
	require.NoError(t, r.err)
	require.Equal(t, "xxxxxxxxxx", r.body)
	require.Equal(t, [failures]int{}, errorsOf(a.address))
	requireState(t, a.address, breaker.Closed)
}

// TestConcurrency: a backend has no more requests than it may, and some wait.
func TestConcurrency(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load(site("concurrency 2 1 1m", a.address, ""))
	held, release := holding("/held")
	defer release()
	a.serve(held)
	codes := make(chan int, 5)
	for n := range int64(2) {
		go func() { codes <- g.get("/held").status }()
		eventually(t, func() bool { return a.asked.Load() == n+1 })
	}
	go func() { codes <- g.get("/held").status }()
	eventually(t, func() bool { return waitingAt(a.address) == 1 })
	r := g.get("/")
	require.Equal(t, 503, r.status)
	require.Equal(t, "1", r.header.Get("Retry-After"))
	require.EqualValues(t, 2, a.asked.Load())
	release()
	require.Equal(t, []int{200, 200, 200}, []int{<-codes, <-codes, <-codes})
	eventually(t, func() bool { return limited.active(a.address) == 0 })
}

// TestConcurrencyOfOthers: who waits for a handler's smaller limit keeps nobody out
// who has a larger one.
func TestConcurrencyOfOthers(t *testing.T) {
	for _, more := range []int{0, 1} { // other backends
		a := newOrigin(t, "a")
		addresses := []string{a.address}
		for range more {
			addresses = append(addresses, newOrigin(t, "b").address)
		}
		held, release := holding("/one")
		defer release()
		a.serve(held)
		g := newRig(t)
		g.load("handle /one {\n" + pool("concurrency 1 1 1m", "lb_policy edge", a.address) + "\n}\nhandle {\n" + pool("concurrency 100", "lb_policy edge", addresses...) + "\n}")
		first := make(chan int, 2)
		for i := range 2 {
			go func() { first <- g.get("/one").status }()
			eventually(t, func() bool { return limited.active(a.address)+waitingAt(a.address) == i+1 })
		}
		require.Equal(t, []int{200, 200, 200, 200}, g.codes(4), "1 of 100 is taken")
		require.Equal(t, 1, waitingAt(a.address))
		release()
		require.Equal(t, []int{200, 200}, []int{<-first, <-first})
		eventually(t, func() bool { return limited.active(a.address) == 0 })
	}
}

// TestCrowds: a slot goes to the first in line whose own limit admits it.
func TestCrowds(t *testing.T) {
	var c crowds
	var slots []*slot
	take := func(most, queue int) (*slot, *place) { return c.take("x", most, queue) }
	for range 3 {
		s, _ := take(3, 0)
		require.NotNil(t, s)
		slots = append(slots, s)
	}
	s, p := take(3, 0)
	require.Nil(t, s)
	require.Nil(t, p)
	_, small := take(1, 9)
	_, large := take(3, 9)
	_, next := take(3, 9)
	require.NotNil(t, next)
	got := func(p *place) bool {
		select {
		case <-p.turn:
			return true
		default:
			return false
		}
	}
	c.release("x")
	require.Equal(t, []bool{false, true, false}, []bool{got(small), got(large), got(next)})
	require.True(t, c.leave("x", next))
	c.release("x")
	c.release("x")
	require.False(t, got(small), "one is still active")
	require.Equal(t, 1, c.active("x"))
	c.release("x")
	require.True(t, got(small))
	c.release("x")
	require.Zero(t, c.active("x"))
	require.Len(t, slots, 3)
}

// TestQueueEndsElsewhere: who waited in vain takes a backend that is free by then.
func TestQueueEndsElsewhere(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("concurrency 1 1 300ms", "lb_policy edge", a.address, b.address))
	full := func(address string) *slot {
		var s *slot
		eventually(t, func() bool { s, _ = limited.take(address, 1, 0); return s != nil })
		return s
	}
	eventually(t, func() bool { // again if this machine was too slow to make room in time
		slots := map[string]*slot{a.address: full(a.address), b.address: full(b.address)}
		done := make(chan int, 1)
		go func() { done <- g.get("/").status }()
		eventually(t, func() bool { return waitingAt(a.address)+waitingAt(b.address) == 1 || len(done) > 0 })
		other := a.address
		if waitingAt(a.address) == 1 {
			other = b.address
		}
		slots[other].release()
		code := <-done
		for _, s := range slots {
			s.release()
		}
		return code == 200
	})
}

func waitingAt(address string) int {
	mu, m := limited.shard(address)
	defer mu.Unlock()
	if here := m[address]; here != nil {
		return len(here.waiting)
	}
	return 0
}

// TestQueueDeadline: who waits in vain is refused, and leaves nothing behind.
func TestQueueDeadline(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load(site("concurrency 1 5 10ms", a.address, ""))
	held, release := holding("/held")
	defer release()
	a.serve(held)
	first := make(chan int, 1)
	go func() { first <- g.get("/held").status }()
	eventually(t, func() bool { return a.asked.Load() == 1 })
	require.Equal(t, []int{503, 503}, g.codes(2))
	require.Zero(t, waitingAt(a.address))
	release()
	require.Equal(t, 200, <-first)
}

func TestFallback(t *testing.T) {
	a := newOrigin(t, "a")
	for _, test := range []struct {
		fallback, body string
		status         int
	}{
		{"fallback 202", "", 202},
		{"fallback sorry", "sorry", 503},
		{"fallback sorry 200", "sorry", 200},
		{"fallback {\nheader X-From fallback\nrespond \"later {http.edge_breaker.retry_after} {http.edge_breaker.reason}\" 202\n}", "later 30 open", 202},
	} {
		t.Run(test.fallback, func(t *testing.T) {
			g := newRig(t)
			g.load(site(test.fallback, a.address, ""))
			require.Equal(t, 200, g.get("/").status)
			force(t, breaker.ForceOpen, a.address)
			r := g.get("/")
			require.Equal(t, test.status, r.status)
			require.Equal(t, test.body, r.body)
			require.Equal(t, "no-store", r.header.Get("Cache-Control"))
		})
	}
}

// TestErrorRoutes: they get the refusal as an error.
func TestErrorRoutes(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load(site("status 599", a.address, "") + "\nhandle_errors {\nrespond \"{err.status_code} {http.edge_breaker.reason} {http.edge_breaker.retry_after}\"\n}")
	force(t, breaker.ForceOpen, a.address)
	r := g.get("/")
	require.Equal(t, 599, r.status)
	require.Equal(t, "599 open 30", r.body)
	require.Equal(t, "30", r.header.Get("Retry-After"))
}

// TestPlaceholders: they tell who was asked, and survive the handler.
func TestPlaceholders(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load("header >X-Backend \"{http.edge_breaker.backend} {http.edge_breaker.state}\"\n" + site("", a.address, ""))
	require.Equal(t, a.address+" closed", g.get("/").header.Get("X-Backend"))
}

// TestAccessLog: it has the backends that were tried.
func TestAccessLog(t *testing.T) {
	a, dead := newOrigin(t, "a"), deadAddress(t)
	g := newRig(t)
	file := filepath.Join(g.dir, "access.log")
	g.load("log {\noutput file " + file + "\n}\n" + pool("", "lb_policy edge\nlb_retries 2", dead, a.address))
	require.Equal(t, 200, g.get("/").status)
	force(t, breaker.ForceOpen, dead, a.address)
	require.Equal(t, 503, g.get("/").status)
	eventually(t, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), `"edge_breaker":"`+dead+` dial, `+a.address+` 200"`) &&
			strings.Contains(string(text), `"edge_breaker_refused":"open"`)
	})
}

// TestDynamicAddress: what a client chooses is bounded, and in no label.
func TestDynamicAddress(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load(site("failures 1", "{header.X-To}", ""))
	require.Equal(t, 200, g.get("/", "X-To: "+a.address).status)
	for i := range 20 {
		require.Equal(t, 502, g.get("/", fmt.Sprintf("X-To: 127.0.0.1:1/%d", i)).status, "no address at all")
	}
	require.Equal(t, 200, g.get("/", "X-To: "+a.address).status)
	require.NotNil(t, countersIfAny("{http.request.header.X-To}"))
	require.Nil(t, countersIfAny(a.address))
	requireState(t, a.address, breaker.Closed)
}

// TestLeavesTheQueue: who leaves while waiting is not refused.
func TestLeavesTheQueue(t *testing.T) {
	for _, proxy := range []string{"lb_policy edge", ""} { // each backend, the route as a whole
		a := newOrigin(t, "a")
		g := newRig(t)
		g.load("edge_breaker {\nname leaves\nconcurrency 1 1 1m\n}\nreverse_proxy " + a.address + " {\n" + proxy + "\n}")
		held, release := holding("/held")
		defer release()
		a.serve(held)
		first := make(chan int, 1)
		go func() { first <- g.get("/held").status }()
		eventually(t, func() bool { return a.asked.Load() == 1 })
		waiting := func() bool { return waitingAt(a.address)+waitingAt("route leaves") == 1 }
		before := valueOf(collectors().refused[reasonConcurrency])
		c, err := net.Dial("unix", g.socket())
		require.NoError(t, err)
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
		require.NoError(t, err)
		eventually(t, waiting)
		require.NoError(t, c.Close())
		eventually(t, func() bool { return !waiting() })
		second := make(chan int, 1)
		go func() { second <- g.get("/").status }() // and whoever has no place is
		eventually(t, waiting)
		require.Equal(t, 503, g.get("/").status)
		require.Equal(t, 1, valueOf(collectors().refused[reasonConcurrency])-before)
		release()
		require.Equal(t, []int{200, 200}, []int{<-first, <-second})
	}
}
