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
