package integration

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// breakerSite is one site with edge_breaker in front of a pool of backends.
const breakerSite = `
	{
		servers {
			protocols h1 h2 h2c h3
		}
		{{.global}}
	}
	{{http "site"}} {
		log
		{{.front}}
		edge_breaker {
			{{.rules}}
		}
		reverse_proxy {{.pool}} {
			lb_policy edge {{.policy}}
			{{.proxy}}
		}
		{{.errors}}
	}
`

// patient are rules under which a backend that is open stays so while a test runs,
// and needs one failure to open.
const patient = "failures 1\nopen 1h 1h\n"

// breakerOptions are the lines in a breakerSite. All may be empty.
type breakerOptions struct {
	global string // options
	front  string // directives
	rules  string // of edge_breaker
	policy string // arguments and block of lb_policy edge
	proxy  string // further lines of reverse_proxy
	errors string // handle_errors
}

func (o *breakerOptions) vars() harness.Vars {
	return harness.Vars{"global": o.global, "front": o.front, "rules": o.rules, "policy": o.policy, "proxy": o.proxy, "errors": o.errors}
}

// breakerEdge is an edge with breakers and the backends behind it.
type breakerEdge struct {
	*cachedEdge
	backends []*origin.Origin
	client   *http.Client // of get
}

// startBreaker starts a breakerSite with n backends, which answer all paths that a
// test doesn't script.
func startBreaker(t *testing.T, n int, o breakerOptions) *breakerEdge {
	t.Helper()
	return startBreakerFile(t, n, breakerSite, o.vars())
}

// startBreakerFile is startBreaker for another Caddyfile. {{.pool}} are the
// addresses of all backends, {{.origin}} is the first, {{index .backends 1}} the
// second.
func startBreakerFile(t *testing.T, n int, caddyfile string, vars harness.Vars) *breakerEdge {
	t.Helper()
	b := new(breakerEdge)
	var pool, ports []string
	for range n {
		o := origin.Start(t)
		o.Handle("/*", text("ok"))
		b.backends = append(b.backends, o)
		pool = append(pool, o.Addr())
		_, port, _ := strings.Cut(o.Addr(), ":")
		ports = append(ports, port)
	}
	e := harness.Start(t, caddyfile, vars, harness.Vars{"pool": strings.Join(pool, " "), "origin": pool[0], "backends": pool, "ports": ports})
	b.cachedEdge = &cachedEdge{Edge: e, t: t, origin: b.backends[0]}
	return b
}

// in returns the edge for a subtest.
func (b *breakerEdge) in(t *testing.T) *breakerEdge {
	return &breakerEdge{b.cachedEdge.in(t), b.backends, b.client}
}

// reload replaces the options of a breakerSite.
func (b *breakerEdge) reload(o breakerOptions) error {
	b.t.Helper()
	return b.Reload(breakerSite, o.vars())
}

// handle scripts a path at all backends.
func (b *breakerEdge) handle(path string, reply origin.Reply) {
	for _, o := range b.backends {
		o.Handle(path, reply)
	}
}

// arrived returns how many requests for a path each backend got.
func (b *breakerEdge) arrived(path string) []int {
	var counts []int
	for _, o := range b.backends {
		counts = append(counts, o.Stats(path).Arrived)
	}
	return counts
}

// addr is the address of a backend.
func (b *breakerEdge) addr(i int) string { return b.backends[i].Addr() }

// backendStatus is what the admin endpoint says of a backend.
type backendStatus struct {
	Address, State, Mode string
	Active, Probes       int
	RPS                  float64
	Errors               float64 `json:"error_ratio"`
	P50                  float64 `json:"p50_ms"`
	P99                  float64 `json:"p99_ms"`
	Failures             int     `json:"consecutive_failures"`
	Successes, Reopens   int
	OpenUntil            *time.Time `json:"open_until"`
	Proxies              []struct {
		Method  string
		Weight  int
		Share   float64
		Healthy bool
	}
}

// status returns what the admin endpoint says of a backend.
func (b *breakerEdge) status(i int) backendStatus {
	b.t.Helper()
	return b.statusOf(b.addr(i))
}

func (b *breakerEdge) statusOf(address string) backendStatus {
	b.t.Helper()
	var s backendStatus
	b.ask("/edge/breaker/backend?"+url.Values{"address": {address}}.Encode(), &s)
	return s
}

// list returns all backends by address.
func (b *breakerEdge) list() map[string]backendStatus {
	b.t.Helper()
	var reply struct{ Backends []backendStatus }
	b.ask("/edge/breaker/backends", &reply)
	all := make(map[string]backendStatus)
	for _, s := range reply.Backends {
		all[s.Address] = s
	}
	return all
}

// awaitState waits until a backend is in a state and has no requests.
func (b *breakerEdge) awaitState(i int, state string) {
	b.t.Helper()
	poll(b.t, b.addr(i)+" is "+state+" and idle", func() bool {
		s := b.status(i)
		return s.State == state && s.Active == 0
	})
}

// force gives a backend an order.
func (b *breakerEdge) force(i int, mode string) {
	b.t.Helper()
	status, body := b.Admin(http.MethodPost, "/edge/breaker/force", map[string]string{"address": b.addr(i), "mode": mode})
	require.Equal(b.t, http.StatusOK, status, string(body))
}

// halfOpen has a backend probed.
func (b *breakerEdge) halfOpen(i int) {
	b.t.Helper()
	b.force(i, "open")
	b.force(i, "auto")
	require.Equal(b.t, "half_open", b.status(i).State)
}

// close makes a backend closed, without failures and at its full share.
func (b *breakerEdge) close(i int) {
	b.t.Helper()
	b.force(i, "closed")
	b.force(i, "auto")
	require.Equal(b.t, "closed", b.status(i).State)
}

// requireUnavailable checks a refusal by edge_breaker with a Retry-After from
// least to most.
func requireUnavailable(t *testing.T, got *harness.Response, least, most int) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, got.Status, string(got.Body))
	retry := retryAfter(t, got)
	require.GreaterOrEqual(t, retry, least)
	require.LessOrEqual(t, retry, most)
	require.JSONEq(t, `{"error":"backend unavailable","retry_after":`+strconv.Itoa(retry)+`}`, string(got.Body))
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
}

// failures returns the errors of a backend by type, those that there are none of
// left out.
func (b *breakerEdge) failures(address string) map[string]int {
	b.t.Helper()
	return failuresIn(b.Metrics(), address)
}

// failuresIn is failures for metrics that were read before.
func failuresIn(metrics map[string]float64, address string) map[string]int {
	found := make(map[string]int)
	prefix := `caddy_edge_breaker_errors_total{backend="` + address + `",type="`
	for series, value := range metrics {
		if kind, ok := strings.CutPrefix(series, prefix); ok && value != 0 {
			found[strings.TrimSuffix(kind, `"}`)] = int(value)
		}
	}
	return found
}

// statuses counts responses by status.
func statuses(all []*harness.Response) map[int]int {
	counts := make(map[int]int)
	for _, got := range all {
		counts[got.Status]++
	}
	return counts
}

// get fetches a path of the site over HTTP/1.1. A listener that is being replaced
// by a reload drops what it accepts at the end, before a request is read.
func (b *breakerEdge) get(path string, lines ...string) *harness.Response {
	b.t.Helper()
	if b.client == nil {
		b.client = b.Client(harness.H1)
	}
	return b.through(b.client, path, lines...)()
}

// gets sends requests one after the other and counts the statuses.
func (b *breakerEdge) gets(n int, path string) map[int]int {
	b.t.Helper()
	counts := make(map[int]int)
	for range n {
		counts[b.get(path).Status]++
	}
	return counts
}

// failing is an answer that is a failure of the backend.
func failing() origin.Reply {
	reply := text("broken")
	reply.Status = http.StatusInternalServerError
	return reply
}

// resetting breaks the connection before the header.
var resetting = origin.Reply{Raw: []byte{}, Ending: origin.Reset}

// labelOf returns the value of a label in the name of a series.
func labelOf(series, label string) string {
	_, rest, found := strings.Cut(series, label+`="`)
	if !found || !strings.HasPrefix(series, "caddy_edge_breaker_") {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
