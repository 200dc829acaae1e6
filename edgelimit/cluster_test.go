package edgelimit

import (
	"bytes"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/edgelimit/redis"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/redistest"
)

// TestCostsFitANodesShare: without a lease a request that costs more than this
// node's part of the burst takes all of that part, or else it would never be
// allowed; what it gets back is what it took.
func TestCostsFitANodesShare(t *testing.T) {
	z := &Zone{Name: "costly", Rate: Rate{10, time.Hour}, Burst: 10, Cost: "8", Cluster: true, Keys: minKeys}
	require.NoError(t, z.provisionLimit())
	require.NoError(t, z.provisionCluster(&edgeapp.App{Redis: &edgeapp.Redis{
		Addresses: []string{"127.0.0.1:1"}, Prefix: "costs:", Interval: caddy.Duration(10 * time.Second),
	}}))
	defer func() { require.NoError(t, z.shared.leave()) }()
	half, err := gcra.Rate(5, time.Hour, 5)
	require.NoError(t, err)
	// As of two nodes, which it takes a server to count.
	z.shared.share.Store(&share{nodes: z.shared.ref.Value().Nodes(), limit: &half, burst: 5})
	z.tables = &tables{rates: gcra.New(minKeys)}
	now := gcra.Now()
	ask := func() []claim {
		return []claim{{
			zone: z, level: &z.levels[0], key: gcra.HashString("client"), cost: z.cost.fixed, shared: &sharedClaim{client: []byte("client")},
		}}
	}
	first := ask()
	first[0].take(now)
	require.True(t, first[0].left.Allowed)
	require.Zero(t, first[0].left.Remaining)
	second := ask()
	second[0].take(now)
	require.False(t, second[0].left.Allowed)
	require.Equal(t, time.Hour, second[0].left.RetryAfter.Round(time.Minute), "until all of the part is there again")
	refund(second, now) // nothing was taken
	refund(first, now)
	again := ask()
	again[0].take(now)
	require.True(t, again[0].left.Allowed)
	require.Zero(t, again[0].left.Remaining)
}

// TestCreditIsChargedToTheShare: what a node grants before the server has charged
// it comes out of the share that it may grant on its own, and comes back with a late
// refusal, but never more than was taken.
func TestCreditIsChargedToTheShare(t *testing.T) {
	server := redistest.Run(t)
	z := &Zone{Name: "credit", Rate: Rate{20, time.Hour}, Burst: 20, Cluster: true, Keys: minKeys}
	require.NoError(t, z.provisionLimit())
	require.NoError(t, z.provisionCluster(&edgeapp.App{Redis: &edgeapp.Redis{
		Addresses: []string{server.Addr()}, Prefix: "credit:", Interval: caddy.Duration(10 * time.Millisecond), Timeout: caddy.Duration(5 * time.Second),
	}}))
	defer func() { require.NoError(t, z.shared.leave()) }()
	z.tables = &tables{rates: gcra.New(minKeys)}
	stats := func() redis.Stats { return z.shared.ref.Value().Stats() }
	take := func(cost int) []claim {
		c := []claim{{zone: z, level: &z.levels[0], key: gcra.HashString("client"), cost: cost, shared: &sharedClaim{client: []byte("client")}}}
		c[0].take(gcra.Now())
		return c
	}
	share := func() int {
		return z.tables.rates.Check(gcra.HashString("client"), z.shared.base.limit, 0, gcra.Now()).Remaining
	}
	require.Eventually(t, func() bool { return stats().Connected }, 30*time.Second, time.Millisecond)
	require.True(t, take(6)[0].left.Allowed, "by the share")
	require.Equal(t, 14, share())
	require.Eventually(t, func() bool { return stats().Exchanges > 0 }, 30*time.Second, time.Millisecond)

	late := take(3)
	require.Equal(t, 3, late[0].shared.lease.Credit)
	require.Equal(t, 11, share())
	refund(late, gcra.Now())
	require.Equal(t, 14, share())

	z.tables.rates.Force(gcra.HashString("client"), z.shared.base.limit, 13, gcra.Now())
	late = take(3)
	require.True(t, late[0].left.Allowed, "the server has it")
	require.Zero(t, share())
	refund(late, gcra.Now())
	require.Zero(t, share(), "it took one of three")
}

// TestNoPenaltyForWhatNobodyKnows: a client that is refused since the server is
// gone, or by this node's part of a limit that it may not have used up, is not
// kept out for longer.
func TestNoPenaltyForWhatNobodyKnows(t *testing.T) {
	for name, tt := range map[string]struct {
		onError string
		nodes   int
		retry   time.Duration
	}{
		"closed":        {"closed", 1, time.Second},
		"part of two":   {"local", 2, time.Hour / 5},
		"the only node": {"local", 1, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			z := &Zone{
				Name: "banned", Rate: Rate{10, time.Hour}, Burst: 10, Cluster: true, Keys: minKeys, Penalty: caddy.Duration(24 * time.Hour),
				Mode: ModeEnforce, state: &state{},
			}
			require.NoError(t, z.provisionLimit())
			require.NoError(t, z.provisionCluster(&edgeapp.App{Redis: &edgeapp.Redis{
				Addresses: []string{"127.0.0.1:1"}, Prefix: name + ":", Interval: caddy.Duration(10 * time.Millisecond), OnError: tt.onError,
			}}))
			defer func() { require.NoError(t, z.shared.leave()) }()
			require.Eventually(t, func() bool {
				return z.shared.zone.Take([]byte("other"), 1, time.Now()).Blind == (tt.onError == "closed")
			}, 30*time.Second, time.Millisecond)
			limit, err := gcra.Rate(10/float64(tt.nodes), time.Hour, 10/tt.nodes)
			require.NoError(t, err)
			if tt.nodes > 1 { // which it takes a server to count
				z.shared.share.Store(&share{nodes: z.shared.ref.Value().Nodes(), limit: &limit, burst: 10 / tt.nodes})
			}
			z.tables = &tables{rates: gcra.New(minKeys), penalties: gcra.NewPenalties(minKeys)}
			now := gcra.Now()
			for {
				c := claim{
					zone: z, level: &z.levels[0], key: gcra.HashString("client"), cost: 1, shared: &sharedClaim{client: []byte("client")},
				}
				c.take(now)
				if c.left.Allowed {
					continue
				}
				require.Equal(t, tt.retry, c.penalize(c.left.RetryAfter, now).Round(time.Second))
				_, blocked := z.tables.penalties.Blocked(c.key, now)
				require.Equal(t, tt.nodes == 1 && tt.onError == "local", blocked)
				break
			}
		})
	}
}

// TestSharedClaims: a claim keeps a key beyond the memory that it was made in, the usual
// one in its own.
func TestSharedClaims(t *testing.T) {
	for _, size := range []int{7, commonKey, commonKey + 1, maxValue} {
		key := bytes.Repeat([]byte{1}, size)
		c := newSharedClaim(key)
		clear(key)
		require.Equal(t, bytes.Repeat([]byte{1}, size), c.client)
		allocs := testing.AllocsPerRun(100, func() { keptClaim = newSharedClaim(key) })
		require.Equal(t, size <= commonKey, allocs == 1, "%d bytes: %v", size, allocs)
	}
}

// keptClaim is where a claim escapes to.
var keptClaim *sharedClaim
