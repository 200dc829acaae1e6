package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// limitedSite is one site with edge_limit, or whatever is given, in front of the
// origin. Clients from 127.0.0.2 are trusted proxies.
const limitedSite = `
	{
		servers {
			protocols h1 h2 h2c h3
			trusted_proxies static 127.0.0.2/32
		}
	}
	{{http "site"}} {
		log
		{{.limits}}
		reverse_proxy {{.origin}}
	}
`

// slow is a rate whose refill does not matter while a test runs: three at once,
// another one in twenty minutes.
const slow = "3/h"

// startLimited starts a site with the given directives. The origin answers all
// paths that a test doesn't script.
func startLimited(t *testing.T, limits string) *cachedEdge {
	t.Helper()
	return startLimitedFile(t, limitedSite, harness.Vars{"limits": limits})
}

// startLimitedFile is startLimited for another Caddyfile.
func startLimitedFile(t *testing.T, caddyfile string, vars harness.Vars) *cachedEdge {
	t.Helper()
	c := startCaddyfile(t, caddyfile, vars)
	c.origin.Handle("/*", text("ok"))
	return c
}

// requireAllowed makes requests that must all pass, and one that must not, which
// it returns.
func requireAllowed(t *testing.T, n int, send func() *harness.Response) *harness.Response {
	t.Helper()
	for i := range n {
		got := send()
		require.Equal(t, http.StatusOK, got.Status, "request %d of %d: %s", i+1, n, got.Body)
	}
	got := send()
	require.Equal(t, http.StatusTooManyRequests, got.Status, "request %d: %s", n+1, got.Body)
	return got
}

// through returns a function that sends GET requests for a path of the site on a
// client of its own.
func (c *cachedEdge) through(client *http.Client, path string, lines ...string) func() *harness.Response {
	return func() *harness.Response {
		c.t.Helper()
		got, err := harness.Send(client, c.request(http.MethodGet, path, lines...))
		require.NoError(c.t, err)
		return got
	}
}

// member is one item of a RateLimit field.
type member struct {
	name   string
	params map[string]any
}

// rateLimits parses a RateLimit or RateLimit-Policy field.
func rateLimits(t *testing.T, got *harness.Response, field string) []member {
	t.Helper()
	require.Len(t, got.Header.Values(field), 1, field)
	list, err := httpsfv.UnmarshalList(got.Header.Values(field))
	require.NoError(t, err, field)
	var members []member
	for _, item := range list {
		it, ok := item.(httpsfv.Item)
		require.True(t, ok, field)
		name, ok := it.Value.(string)
		require.True(t, ok, field)
		m := member{name, make(map[string]any)}
		for _, p := range it.Params.Names() {
			m.params[p], _ = it.Params.Get(p)
		}
		members = append(members, m)
	}
	return members
}

// retryAfter returns the seconds of Retry-After.
func retryAfter(t *testing.T, got *harness.Response) int {
	t.Helper()
	n, err := strconv.Atoi(got.Header.Get("Retry-After"))
	require.NoError(t, err, "Retry-After")
	return n
}

// requireRefusal checks everything that the refusal of a zone says: with quota
// requests in a time of per seconds, and a Retry-After from least to most.
func requireRefusal(t *testing.T, got *harness.Response, zone string, quota, per int64, least, most int) {
	t.Helper()
	require.Equal(t, http.StatusTooManyRequests, got.Status)
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	retry := retryAfter(t, got)
	require.GreaterOrEqual(t, retry, least)
	require.LessOrEqual(t, retry, most)
	require.JSONEq(t, `{"error":"rate limit exceeded","retry_after":`+strconv.Itoa(retry)+`}`, string(got.Body))
	require.Equal(t, []member{{zone, map[string]any{"q": quota, "w": per}}}, rateLimits(t, got, "RateLimit-Policy"))
	require.Equal(t, []member{{zone, map[string]any{"r": int64(0), "t": int64(retry)}}}, rateLimits(t, got, "RateLimit"))
}

// zoneStatus is what the admin endpoint says of a zone.
type zoneStatus struct {
	Name, Mode, Key, Rate, Window string
	Configured                    string `json:"mode_configured"`
	Burst, Concurrency, Slots     int
	InFlight                      int `json:"in_flight"`
	Indebted, Penalties           int
	Allowed, Denied, Shadow       int
}

// zones returns the zones of the running config by name.
func (c *cachedEdge) zones() map[string]zoneStatus {
	c.t.Helper()
	var reply struct{ Zones []zoneStatus }
	c.ask("/edge/limit/zones", &reply)
	all := make(map[string]zoneStatus)
	for _, z := range reply.Zones {
		all[z.Name] = z
	}
	return all
}

// ask reads JSON from the admin endpoint.
func (c *cachedEdge) ask(path string, to any) {
	c.t.Helper()
	status, body := c.Admin(http.MethodGet, path, nil)
	require.Equal(c.t, http.StatusOK, status, string(body))
	require.NoError(c.t, json.Unmarshal(body, to), string(body))
}

// clientStatus is what the admin endpoint says of one client.
type clientStatus struct {
	ID         string
	Allowed    bool
	Remaining  int
	RetryAfter float64 `json:"retry_after_seconds"`
	InFlight   int     `json:"in_flight"`
	Penalty    float64 `json:"penalty_seconds"`
	// Cluster is what is left on the server that nodes share.
	Cluster *float64 `json:"cluster_remaining"`
}

func (c *cachedEdge) inspect(zone string, key ...string) clientStatus {
	c.t.Helper()
	var s clientStatus
	c.ask("/edge/limit/key?"+url.Values{"zone": {zone}, "key": key}.Encode(), &s)
	return s
}

// awaitIdle waits until no request counts for the concurrency of a zone.
func (c *cachedEdge) awaitIdle(zone string) {
	c.t.Helper()
	poll(c.t, "nothing is in flight in zone "+zone, func() bool { return c.zones()[zone].InFlight == 0 })
}

// isAccess matches the access log's line about a request.
func isAccess(uri string) func(harness.Entry) bool {
	return func(e harness.Entry) bool {
		request, _ := e["request"].(map[string]any)
		logger, _ := e["logger"].(string)
		return strings.HasPrefix(logger, "http.log.access") && request["uri"] == uri
	}
}

// isNotice matches the line about a client beyond its limit.
func isNotice(e harness.Entry) bool { return e["msg"] == "request beyond its limit" }

// countLogs returns how many lines satisfy match.
func (c *cachedEdge) countLogs(match func(harness.Entry) bool) int {
	n := 0
	for _, e := range c.Logs() {
		if match(e) {
			n++
		}
	}
	return n
}

// hold starts n requests for a path that the origin answers when the gate opens,
// and returns when they have all arrived.
func (c *cachedEdge) hold(path string, n int, lines ...string) (*origin.Gate, *batch) {
	c.t.Helper()
	gate := origin.NewGate()
	c.t.Cleanup(gate.Open) // a test that failed must not keep the edge from stopping
	reply := text("held")
	reply.HoldHeader = gate
	before := c.origin.Stats(path).Arrived
	c.origin.Handle(path, reply)
	b := sendTogether(c.t, c.Client(harness.H1), n, func(int) *http.Request { return c.request(http.MethodGet, path, lines...) })
	c.origin.WaitArrived(c.t, path, before+n)
	return gate, b
}
