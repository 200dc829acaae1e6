package redis

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
	"github.com/caddyedge/caddy-edge/edgelimit/lease/leasetest"
	"github.com/caddyedge/caddy-edge/internal/redistest"
)

// TestScriptIsTheModel holds the script to the model that the simulations use.
func TestScriptIsTheModel(t *testing.T) {
	s := redistest.Run(t)
	cfg, err := quick(s.Addr()).withDefaults()
	require.NoError(t, err)
	c, err := connect(t.Context(), cfg)
	require.NoError(t, err)
	defer c.close()

	zones := 0
	rapid.Check(t, func(t *rapid.T) {
		zones++
		// Slow enough that the time of the test brings nothing in.
		l := lease.Limit{Rate: 1e-5, Burst: rapid.IntRange(1, 300).Draw(t, "burst")}
		z := newZone(&Node{cfg: cfg}, zoneID{name: fmt.Sprint("zone ", zones), limit: l})
		var model leasetest.Bucket
		now := time.Unix(1_700_000_000, 0)
		for range rapid.IntRange(1, 12).Draw(t, "exchanges") {
			ask := lease.Ask{
				Spent: rapid.Int64Range(0, 400).Draw(t, "spent"),
				Back:  rapid.Int64Range(0, 400).Draw(t, "back"),
				Want:  rapid.Int64Range(0, 400).Draw(t, "want"),
			}
			calls := []call{{zone: z, ask: ask}}
			require.NoError(t, c.exchange(t.Context(), calls))
			want := model.Exchange(l, ask, now)
			require.Equal(t, want.Granted, calls[0].answer.Granted)
			require.InDelta(t, want.Free, calls[0].answer.Free, 1e-3)
		}
	})
}

// TestScriptRefills: with time the bucket fills, at the rate, and the key goes.
func TestScriptRefills(t *testing.T) {
	s := redistest.Run(t)
	cfg, err := quick(s.Addr()).withDefaults()
	require.NoError(t, err)
	c, err := connect(t.Context(), cfg)
	require.NoError(t, err)
	defer c.close()
	z := newZone(&Node{cfg: cfg}, zoneID{name: "zone", limit: lease.Limit{Rate: 100, Burst: 20}})
	exchange := func(a lease.Ask) lease.Answer {
		calls := []call{{zone: z, ask: a}}
		require.NoError(t, c.exchange(t.Context(), calls))
		return calls[0].answer
	}
	began := time.Now()
	granted := int64(0)
	eventually(t, func() bool {
		granted += exchange(lease.Ask{Want: 100}).Granted
		return granted >= 60
	}, "the bucket refills")
	require.LessOrEqual(t, float64(granted), 21+100*time.Since(began).Seconds(), "not faster than the rate")
	eventually(t, func() bool { return len(s.Ask("KEYS", "edge:limit:zone:*")) == 0 }, "a full bucket needs no key")
	require.InDelta(t, 20, exchange(lease.Ask{}).Free, 0)
	require.Empty(t, s.Ask("KEYS", "edge:limit:zone:*"), "nothing to remember")
}

// TestScriptTakesANewLimit: a debt made under a great limit does not outlast the
// change to a small one.
func TestScriptTakesANewLimit(t *testing.T) {
	s := redistest.Run(t)
	cfg, err := quick(s.Addr()).withDefaults()
	require.NoError(t, err)
	c, err := connect(t.Context(), cfg)
	require.NoError(t, err)
	defer c.close()
	for _, step := range []struct {
		limit lease.Limit
		spent int64
		free  float64
	}{
		{lease.Limit{Rate: 0.001, Burst: 1000}, 1500, -500},
		{lease.Limit{Rate: 0.01, Burst: 10}, 0, -10.01},
		{lease.Limit{Rate: 0.001, Burst: 1000}, 0, 1000 - 20.01/10},
	} {
		z := newZone(&Node{cfg: cfg}, zoneID{name: "zone", limit: step.limit})
		calls := []call{{zone: z, ask: lease.Ask{Spent: step.spent}}}
		require.NoError(t, c.exchange(t.Context(), calls))
		require.InDelta(t, step.free, calls[0].answer.Free, 1, "%+v", step.limit)
	}
}
