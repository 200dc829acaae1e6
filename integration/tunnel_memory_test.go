//go:build !race

package integration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// attackedSite is a tunnelSite without TLS, whose handshakes are not what is tested.
const attackedSite = `
	{
		servers {
			timeouts {
				read_header 2s
			}
		}
	}
	{{http "site"}} {
		edge_tunnel {
			{{.token}}
		}
		reverse_proxy {
			dynamic edge_tunnel app
			transport edge_tunnel
		}
	}
`

// TestMemoryOfHalfOpenAgents has 10,000 who begin to connect: with half of a request, with none, or
// with a token that is not valid. Those with one are not kept out, and memory stays.
func TestMemoryOfHalfOpenAgents(t *testing.T) {
	o := origin.Start(t)
	o.Handle("/*", text("ok"))
	e := startTunnelFile(t, attackedSite, nil)
	e.agent("one", o)
	before := e.Memory().Resident
	const attempts, atOnce = 10_000, 200
	var all sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		all.Go(func() {
			for i := range next {
				conn := e.Dial("site")
				switch i % 3 {
				case 0: // slow, until the server gives it up
					fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: edge-tunnel/1\r\nAuthorization: Bearer home.")
				case 1:
					fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: edge-tunnel/1\r\nAuthorization: Bearer home.guess%d\r\n\r\n", i)
					_ = conn.SetReadDeadline(time.Now().Add(limit))
					answer := make([]byte, len("HTTP/1.1 401"))
					if _, err := conn.Read(answer); err != nil || string(answer) != "HTTP/1.1 401" && string(answer) != "HTTP/1.1 429" {
						t.Errorf("%q: %v", answer, err)
					}
				}
				if i%10 != 0 { // the rest stays
					_ = conn.Close()
				}
			}
		})
	}
	for i := range attempts {
		next <- i
	}
	close(next)
	all.Wait()
	got := e.Get(harness.H1, e.URL("site")+"/")
	require.Equal(t, 200, got.Status)
	require.Equal(t, []string{"one"}, e.serving())
	e.agent("two", o)
	metrics := e.Metrics()
	require.Equal(t, attempts/3, int(metrics[`caddy_edge_tunnel_refused_agents_total{reason="token"}`]))
	require.Less(t, e.Memory().Resident-before, int64(100<<20), "1000 connections are held open")
	require.Equal(t, http.StatusOK, e.Get(harness.H1, e.URL("site")+"/").Status)
}
