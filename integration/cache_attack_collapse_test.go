package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// A request that the origin chokes on does not take those down that wait for
// the same page.
func TestAttack_FailingLeader(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	for name, answer := range map[string]origin.Reply{
		"reset":         {Raw: []byte{}, Ending: origin.Reset},
		"closed":        {Raw: []byte{}, Ending: origin.Cut},
		"no HTTP":       {Raw: []byte("what?\r\n\r\n")},
		"error":         {Status: 500},
		"refused":       {Status: 431},
		"redirect":      {Status: 302, Headers: []string{"Location: http://" + marker}},
		"unasked 304":   {Status: 304},
		"cut in header": {Raw: []byte("HTTP/1.1 200 OK\r\nCache-Co")},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			gate := origin.NewGate()
			c.origin.HandleFunc(path, func(r *origin.Request) origin.Reply {
				if r.Header.Get("X-Oversized") != "" {
					reply := answer
					reply.HoldHeader = gate
					return reply
				}
				return text("fine", minute)
			})
			attacker := sendTogether(t, client, 1, func(int) *http.Request {
				return c.request(http.MethodGet, path, "X-Oversized: "+strings.Repeat("a", 4000))
			})
			c.origin.WaitArrived(t, path, 1)
			victims := sendTogether(t, client, 10, func(int) *http.Request { return c.request(http.MethodGet, path) })
			gate.Open()
			for _, got := range victims.responses() {
				require.Equal(t, http.StatusOK, got.Status)
				require.Equal(t, "fine", string(got.Body))
			}
			attacker.wait()
			require.Equal(t, "fine", string(c.get(path).Body))
		})
	}
}
