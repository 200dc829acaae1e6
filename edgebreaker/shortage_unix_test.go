//go:build unix

package edgebreaker

import (
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// TestShortage: that this machine has no descriptors left is no failure of a backend,
// also when the proxy tries again and nobody tells the error.
func TestShortage(t *testing.T) {
	for _, retries := range []string{"", "\nlb_retries 1"} {
		a, b := newOrigin(t, "a"), newOrigin(t, "b")
		g := newRig(t)
		g.load(pool("failures 1", "lb_policy edge"+retries+"\ntransport http {\nkeepalive off\n}", a.address, b.address))
		require.Equal(t, 200, g.get("/").status)
		before := withoutOther(errorsOf(a.address)) // an origin of another test may have had its port
		var old syscall.Rlimit
		require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
		none := old
		none.Cur = 3
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
		codes := g.codes(4)
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old))
		require.Equal(t, slices.Repeat([]int{502}, 4), codes)
		requireState(t, a.address, breaker.Closed)
		requireState(t, b.address, breaker.Closed)
		require.Equal(t, before, withoutOther(errorsOf(a.address)))
	}
}

func withoutOther(n [failures]int) [failures]int {
	n[failureOther] = 0
	return n
}
