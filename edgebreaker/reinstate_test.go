package edgebreaker

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// failing counts the replies that are no 200.
func failing(codes []int) (n int) {
	for _, code := range codes {
		if code != 200 {
			n++
		}
	}
	return n
}

// TestReinstatedTakeLittle: what max_ejection puts back takes little from a backend
// that works, by whatever policy, and though it fails at once.
func TestReinstatedTakeLittle(t *testing.T) {
	for _, method := range []string{"wrr", "least_conn", "p2c"} {
		for _, dead := range []bool{false, true} {
			good, addresses := newOrigin(t, "good"), []string(nil)
			for range 2 {
				if dead {
					addresses = append(addresses, deadAddress(t))
					continue
				}
				bad := newOrigin(t, "bad")
				bad.status(500, "")
				addresses = append(addresses, bad.address)
			}
			g := newRig(t)
			g.load(pool("failures 2\nopen 1h 1h", "lb_policy edge "+method, append(addresses, good.address)...))
			eventually(t, func() bool {
				g.get("/")
				return backend(t, addresses[0]).State() == breaker.Open && backend(t, addresses[1]).State() == breaker.Open
			})
			require.LessOrEqual(t, failing(g.codes(200)), 25, "%s, dead: %v", method, dead)
		}
	}
}

// TestReinstatedBesideUnhealthy: one that health checks have taken out does not bring
// a failing one back for good.
func TestReinstatedBesideUnhealthy(t *testing.T) {
	good, bad, dead := newOrigin(t, "good"), newOrigin(t, "bad"), deadAddress(t)
	g := newRig(t)
	g.load(pool("failures 2\nopen 1h 1h", "lb_policy edge\nhealth_uri /health\nhealth_interval 1h\nhealth_status 2xx", good.address, dead, bad.address))
	eventually(t, func() bool {
		g.get("/")
		return membersAt(dead)[0].down()
	})
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" { // which may be asked for only now
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	bad.handle.Store(&broken)
	eventually(t, func() bool {
		g.get("/")
		return backend(t, bad.address).State() == breaker.Open
	})
	require.LessOrEqual(t, failing(g.codes(200)), 25)
	require.True(t, membersAt(bad.address)[0].reinstated.Load())

	// It works again: a success brings back all of its share.
	bad.status(200, "")
	eventually(t, func() bool {
		g.codes(200) // it gets one of a thousand
		return backend(t, bad.address).Reinstated() == 1
	})
}

// TestReinstatedBesideForced: one that an operator holds open counts as out.
func TestReinstatedBesideForced(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("failures 1\nopen 1h 1h", "lb_policy edge", a.address, b.address))
	require.Equal(t, []int{200, 200}, g.codes(2))
	force(t, breaker.ForceOpen, a.address)
	asked := a.asked.Load()
	b.status(500, "")
	require.Equal(t, slices.Repeat([]int{500}, 5), g.codes(5), "b is put back, and nobody asks a")
	require.Equal(t, asked, a.asked.Load())
}

// TestHalfOpenIsNotReinstated: a backend that is being probed gets probes, and no
// more than it may.
func TestHalfOpenIsNotReinstated(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("failures 1\nprobes 1", "lb_policy edge", a.address, b.address))
	require.Equal(t, []int{200, 200}, g.codes(2))
	probe, release := holding("/probe")
	defer release()
	a.serve(probe)
	b.serve(probe)
	force(t, breaker.ForceOpen, a.address, b.address)
	force(t, breaker.Auto, a.address, b.address)
	var probes sync.WaitGroup
	for range 2 {
		probes.Go(func() { g.get("/probe") })
	}
	eventually(t, func() bool { return a.asked.Load() == 2 && b.asked.Load() == 2 })
	require.Equal(t, slices.Repeat([]int{503}, 10), g.codes(10))
	require.Equal(t, 1, backend(t, a.address).Active())
	require.Equal(t, 1, backend(t, b.address).Active())
	release()
	probes.Wait()
}

// TestUnreachableIsRefused: when nobody can be reached the fallback answers, though
// max_ejection has some asked nevertheless. What a backend says itself goes through.
func TestUnreachableIsRefused(t *testing.T) {
	g := newRig(t)
	g.log = g.dir + "/log"
	dead := []string{deadAddress(t), deadAddress(t)}
	g.load(pool("failures 1\nopen 1h 1h\nfallback \"back soon\" 503", "lb_policy edge", dead...))
	require.Equal(t, []int{502, 502}, g.codes(2))
	for _, method := range []string{"GET", "POST"} {
		r := g.do(method, "/", strings.NewReader("x"))
		require.Equal(t, 503, r.status)
		require.Equal(t, "back soon", r.body)
		require.NotEmpty(t, r.header.Get("Retry-After"))
	}
	require.Equal(t, 1, strings.Count(g.logged(), "a backend is used though it is open"))
	var replies []proxyReply
	for _, address := range dead {
		replies = append(replies, newBackendReply(backend(t, address), time.Now()).Proxies...)
	}
	require.Len(t, replies, 2)
	for _, one := range replies {
		if one.Reinstated {
			require.InDelta(t, 0.25, one.Share, 0, "two failures")
		} else {
			require.Zero(t, one.Share)
		}
	}
	require.NotEqual(t, replies[0].Reinstated, replies[1].Reinstated)
}

// TestRetriesLeaveOpenOnes: a retry does not prefer a dead backend that max_ejection has
// put back to the one that answered, only because that was tried.
func TestRetriesLeaveOpenOnes(t *testing.T) {
	a, dead := newOrigin(t, "a"), []string{deadAddress(t), deadAddress(t)}
	g := newRig(t)
	g.load(pool("failures 2\nopen 1h 1h\nmax_ejection 34%\nfailure_status 599\nretry_budget 100%", "lb_policy edge\nlb_retries 1\n"+retryStatus, append(dead, a.address)...))
	eventually(t, func() bool {
		g.get("/")
		return backend(t, dead[0]).State() == breaker.Open && backend(t, dead[1]).State() == breaker.Open
	})
	a.status(500, "")
	refused := 0
	for _, code := range g.codes(100) {
		if code != 500 {
			refused++
		}
	}
	require.LessOrEqual(t, refused, 25)
}
