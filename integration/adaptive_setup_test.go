package integration

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// single lets one request at a time go to the origin. A P95 far beyond what a test
// takes keeps the limit from falling on a slow machine.
const single = `
	min     1
	max     2
	initial 1
	p95     30s
`

// startAdaptive starts a site with edge_adaptive and the given options.
func startAdaptive(t *testing.T, options string) *cachedEdge {
	t.Helper()
	return startLimited(t, "edge_adaptive {\n"+options+"\n}")
}

// adaptiveStatus is what the admin endpoint says of a limit.
type adaptiveStatus struct {
	Name, Mode, State        string
	Limit                    float64
	P95                      float64 `json:"p95_ms"`
	InFlight                 int     `json:"in_flight"`
	Uploads, Streams, Queued int
	Admitted                 int
	Refused                  map[string]int
	Clients                  int     `json:"active_clients"`
	Target                   float64 `json:"target_ms"`
}

// adaptives returns the limits of the running config by name.
func (c *cachedEdge) adaptives() map[string]adaptiveStatus {
	c.t.Helper()
	var reply struct{ Limits []adaptiveStatus }
	c.ask("/edge/adaptive", &reply)
	all := make(map[string]adaptiveStatus)
	for _, l := range reply.Limits {
		all[l.Name] = l
	}
	return all
}

// adaptive returns the limit of the only edge_adaptive.
func (c *cachedEdge) adaptive() adaptiveStatus {
	c.t.Helper()
	all := c.adaptives()
	require.Len(c.t, all, 1)
	return all["default"]
}

// awaitSlots waits until no request holds a slot.
func (c *cachedEdge) awaitSlots() {
	c.t.Helper()
	poll(c.t, "nothing is in flight to the origin", func() bool { return c.adaptive().InFlight == 0 })
}

// requireOverloaded checks a refusal by edge_adaptive.
func requireOverloaded(t *testing.T, got *harness.Response, status int) {
	t.Helper()
	require.Equal(t, status, got.Status, string(got.Body))
	retry := retryAfter(t, got)
	require.GreaterOrEqual(t, retry, 1)
	require.LessOrEqual(t, retry, 60)
	require.JSONEq(t, `{"error":"overloaded","retry_after":`+strconv.Itoa(retry)+`}`, string(got.Body))
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
}

// requireSlot checks that exactly one slot is free: one request is admitted, the
// next one is not.
func (c *cachedEdge) requireSlot() {
	c.t.Helper()
	c.awaitSlots()
	gate, held := c.hold("/slot", 1)
	requireOverloaded(c.t, c.get("/page"), http.StatusServiceUnavailable)
	gate.Open()
	held.responses()
	c.awaitSlots()
}
