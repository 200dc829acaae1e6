package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// retryStatus has the proxy send requests again for a status of 500 or more.
const retryStatus = `
	lb_retries 2
	lb_retry_match {
		expression {rp.status_code} >= 500
	}
`

func TestErrorsShownAreTheThresholdAndThoseInFlight(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 3, `
		{
			servers {
				protocols h1 h2 h2c h3
			}
		}
		{{http "site"}}, {{https "secure"}} {
			edge_breaker {
				failures 5
				open     1h 1h
			}
			reverse_proxy {{.pool}} {
				lb_policy edge
			}
		}
	`, nil)
	check := func(t *testing.T, p harness.Proto, site string) {
		b := b.in(t)
		b.close(0)
		b.backends[0].Handle("/*", failing())
		defer b.backends[0].Handle("/*", text("ok"))
		for _, o := range b.backends {
			o.Forget()
		}

		// Those in flight, of which each backend has some.
		path := "/held"
		gate := origin.NewGate()
		t.Cleanup(gate.Open)
		held := failing()
		held.HoldHeader = gate
		b.backends[0].Handle(path, held)
		inFlight := sendTogether(t, b.Client(p), 12, func(int) *http.Request {
			req, err := harness.NewRequest(http.MethodGet, b.URL(site)+path, "")
			require.NoError(t, err)
			return req
		})
		for _, o := range b.backends { // one that comes later would take a turn below
			o.WaitArrived(t, path, 4)
		}

		get := func() int { return b.Get(p, b.URL(site)+"/page").Status }
		shown := 0
		for range 15 {
			if get() != http.StatusOK {
				shown++
			}
		}
		require.Equal(t, 5, shown, "the threshold")
		require.Equal(t, "open", b.status(0).State)
		gate.Open()
		require.Equal(t, map[int]int{http.StatusOK: 8, http.StatusInternalServerError: 4}, statuses(inFlight.responses()), "those in flight")
		for range 60 {
			require.Equal(t, http.StatusOK, get(), "then none")
		}
		require.Equal(t, []int{5, 35, 35}, b.arrived("/page"))
		b.awaitState(0, "open")
	}
	t.Run("h1 plain", func(t *testing.T) { check(t, harness.H1, "site") })
	t.Run("h2c", func(t *testing.T) { check(t, harness.H2C, "site") })
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) { check(t, p, "secure") })
}

// TestRetriesOverAllProtocols: the protocol of the client, which may tell no length of
// a body that is none, has no part in it.
func TestRetriesOverAllProtocols(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 2, `
		{
			servers {
				protocols h1 h2 h3
			}
		}
		{{https "secure"}} {
			edge_breaker {
				failures 100
				open     1h 1h
			}
			reverse_proxy {{.pool}} {
				lb_policy edge
				lb_retries 3
			}
		}
	`, nil)
	b.backends[0].Handle("/reset", resetting)
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		b := b.in(t)
		for range 4 {
			require.Equal(t, http.StatusOK, b.Get(p, b.URL("secure")+"/reset").Status)
		}
	})
}

func TestNoErrorIsShownWithRetries(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 3, breakerOptions{rules: "failures 5\nopen 1h 1h", proxy: retryStatus})
	b.backends[0].Handle("/*", failing())
	require.Equal(t, map[int]int{http.StatusOK: 75}, b.gets(75, "/page"))
	require.Equal(t, 5, b.arrived("/page")[0])
	require.Equal(t, "open", b.status(0).State)

	m := b.Metrics()
	require.InDelta(t, 5, m[`caddy_edge_breaker_retries_total{result="sent"}`], 0)
	require.InDelta(t, 5, m[`caddy_edge_breaker_requests_total{backend="`+b.addr(0)+`",class="5xx"}`], 0)
	require.InDelta(t, 0, m[`caddy_edge_breaker_requests_total{backend="`+b.addr(0)+`",class="2xx"}`], 0)
	require.InDelta(t, 75, m[`caddy_edge_breaker_requests_total{backend="`+b.addr(1)+`",class="2xx"}`]+
		m[`caddy_edge_breaker_requests_total{backend="`+b.addr(2)+`",class="2xx"}`], 0)
	require.Empty(t, b.failures(b.addr(0)), "a response is no error")
}

// TestAllAttemptsFail has the client see what the last backend said.
func TestAllAttemptsFail(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 3, breakerOptions{rules: "failures 100\nopen 1h 1h", proxy: retryStatus})
	for i, status := range []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusInsufficientStorage} {
		reply := text("broken")
		reply.Status = status
		b.backends[i].Handle("/*", reply)
	}
	got := b.get("/page")
	require.Equal(t, []int{1, 1, 1}, b.arrived("/page"), "each is tried once")
	last := b.backends[0]
	for _, o := range b.backends[1:] {
		if o.Requests("/page")[0].Time.After(last.Requests("/page")[0].Time) {
			last = o
		}
	}
	want := map[string]int{b.addr(0): 500, b.addr(1): 502, b.addr(2): 507}[last.Addr()]
	require.Equal(t, want, got.Status)
	require.Empty(t, got.Header.Values("Retry-After"))
}

func TestWhichRequestsAreSentAgain(t *testing.T) {
	t.Parallel()
	// The proxy is ready to send everything again; edge_breaker is not.
	const all = "lb_retries 2\nlb_retry_match {\nmethod GET POST PUT\n}\n"
	options := breakerOptions{rules: "failures 100\nopen 1h 1h", proxy: all}
	b := startBreaker(t, 2, options)
	b.handle("/reset", resetting)
	sent := func(method string, want int) {
		t.Helper()
		before := b.arrived("/reset")
		require.Equal(t, http.StatusBadGateway, b.do(method, "/reset", "").Status)
		n := 0
		for i, after := range b.arrived("/reset") {
			n += after - before[i]
		}
		require.Equal(t, want, n, method)
	}
	// Without connections that are kept, none is retried by the transport itself.
	options.proxy += "transport http {\nkeepalive off\n}"
	require.NoError(t, b.reload(options))
	sent(http.MethodGet, 3)
	sent(http.MethodPut, 3)
	sent(http.MethodPost, 1)
	require.InDelta(t, 1, b.Metrics()[`caddy_edge_breaker_retries_total{result="method"}`], 0)

	told := options
	told.rules += "\nretry_methods POST"
	require.NoError(t, b.reload(told))
	sent(http.MethodPost, 3)
	sent(http.MethodGet, 1)

	told.rules = options.rules + "\nretry_methods any"
	require.NoError(t, b.reload(told))
	sent(http.MethodPost, 3)
	sent(http.MethodGet, 3)
}

func TestDialErrorsAreAlwaysRetried(t *testing.T) {
	t.Parallel()
	b := startBreakerFile(t, 1, `
		{{http "site"}} {
			edge_breaker {
				failures 5
				open     1h 1h
			}
			reverse_proxy 127.0.0.1:{{port "dead"}} {{.origin}} {
				lb_policy  edge
				lb_retries 1
			}
		}
	`, nil)
	for range 20 {
		got := b.do(http.MethodPost, "/page", "content")
		require.Equal(t, http.StatusOK, got.Status)
	}
	requests := b.origin.Requests("/page")
	require.Len(t, requests, 20)
	for _, r := range requests {
		require.Equal(t, "content", string(r.Body))
	}
	dead := ""
	for address, s := range b.list() {
		if address != b.addr(0) {
			dead = address
			require.Equal(t, "open", s.State)
		}
	}
	require.Equal(t, map[string]int{"dial": 5}, b.failures(dead))
}

// TestTheBudgetBoundsRetries has the client see the failure of the origin, and no
// refusal, when there is no budget left.
func TestTheBudgetBoundsRetries(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 2, breakerOptions{
		rules: "failures 1000\nopen 1h 1h\nretry_budget 0% 0\nheader_timeout 1s",
		proxy: "lb_retry_match {\nmethod GET\n}\n" + retryStatus + "transport http {\nkeepalive off\n}",
	})
	b.handle("/status", failing())
	b.handle("/reset", resetting)
	b.handle("/hangs", origin.Reply{HoldHeader: origin.NewGate()})
	for path, want := range map[string]int{
		"/status": http.StatusInternalServerError, "/reset": http.StatusBadGateway, "/hangs": http.StatusGatewayTimeout,
	} {
		for range 3 {
			got := b.get(path)
			require.Equal(t, want, got.Status, path)
			require.Empty(t, got.Header.Values("Retry-After"), path)
		}
		counts := b.arrived(path)
		require.Equal(t, 3, counts[0]+counts[1], path)
	}
	require.InDelta(t, 9, b.Metrics()[`caddy_edge_breaker_retries_total{result="budget"}`], 0)

	// A share of the requests: of ten, one may be sent again.
	require.NoError(t, b.reload(breakerOptions{rules: "failures 1000\nopen 1h 1h\nretry_budget 10% 0", proxy: retryStatus}))
	b.backends[0].Handle("/half", failing())
	failed := 0
	for range 100 {
		if b.get("/half").Status != http.StatusOK {
			failed++
		}
	}
	sent := b.Metrics()[`caddy_edge_breaker_retries_total{result="sent"}`]
	require.InDelta(t, 10, sent, 2)
	require.InDelta(t, 50-sent, failed, 2)
}

// TestAccessLogNamesTheBackendsTried looks at the field of the access log.
func TestAccessLogNamesTheBackendsTried(t *testing.T) {
	t.Parallel()
	b := startBreaker(t, 2, breakerOptions{
		rules: "failures 100\nopen 1h 1h",
		proxy: "lb_retry_match {\nmethod GET\n}\n" + retryStatus + "transport http {\nkeepalive off\n}\nheader_down X-Backend {http.edge_breaker.backend}",
	})
	b.backends[0].Handle("/status", failing())
	b.backends[0].Handle("/reset", resetting)
	for path, failed := range map[string]string{"/status": "500", "/reset": "reset"} {
		var got *harness.Response
		tries := ""
		for i := range 2 { // one of them begins with the first backend
			uri := path + "?" + string(rune('a'+i))
			got = b.get(uri)
			require.Equal(t, http.StatusOK, got.Status)
			require.Equal(t, b.addr(1), got.Header.Get("X-Backend"))
			line, ok := b.WaitLog(isAccess(uri))["edge_breaker"].(string)
			require.True(t, ok)
			if strings.Contains(line, ",") {
				tries = line
			} else {
				require.Equal(t, b.addr(1)+" 200", line)
			}
		}
		require.Equal(t, b.addr(0)+" "+failed+", "+b.addr(1)+" 200", tries)
	}
}
