//go:build !race

package integration

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// TestMemoryOfUploads: content is streamed, so that its length takes no memory.
func TestMemoryOfUploads(t *testing.T) {
	const (
		size = 64 << 20 // the benchmarks send 1 GiB
		most = 32 << 20
	)
	e := startUploads(t, "edge_waf")
	client := e.Client(harness.H1)
	send := func(size int64, length bool) {
		upload(t, client, e.URL("site")+"/up", proseOf(size), size, length, plainText)
	}
	send(1<<20, true) // buffers and automata
	for _, length := range []bool{true, false} {
		e.ResetPeak()
		before := e.Memory().Resident
		send(size, length)
		grown := e.Memory().Peak - before
		t.Logf("64 MiB, length=%v: the edge grew by %.1f MiB", length, float64(grown)/(1<<20))
		require.Less(t, grown, int64(most), fmt.Sprint(length))
	}
}

// TestMemoryOfManySites: sites with the same rules have them once.
func TestMemoryOfManySites(t *testing.T) {
	const (
		many     = 23
		most     = 1.3
		requests = 2 * many
	)
	resident := func(sites int) int64 {
		config := ""
		for n := range sites {
			config += fmt.Sprintf("{{http \"site%d\"}} {\nedge_waf\nrespond ok\n}\n", n)
		}
		e := harness.Start(t, config)
		for n := range requests {
			got := e.Get(harness.H1, fmt.Sprintf("%s/search%s", e.URL(fmt.Sprintf("site%d", n%sites)), attack), polite...)
			require.Equal(t, 403, got.Status)
		}
		status := wafStatusOf(t, e)
		require.Len(t, status.Firewalls, sites)
		require.Len(t, status.RuleSets, 1)
		for _, f := range status.Firewalls {
			require.Equal(t, status.RuleSets[0].Key, f.RuleSet)
		}
		m := e.Memory()
		t.Logf("%d sites: RSS %.1f MiB, at most %.1f MiB", sites, float64(m.Resident)/(1<<20), float64(m.Peak)/(1<<20))
		e.Stop()
		return m.Resident
	}
	one, all := resident(1), resident(many)
	ratio := float64(all) / float64(one)
	t.Logf("RSS of %d sites is %.2f times that of one", many, ratio)
	require.LessOrEqual(t, ratio, most)
}
