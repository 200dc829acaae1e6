package adaptive

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUsageIsTheAverageOfTheSlotsHeld(t *testing.T) {
	table := newClientTable(64)
	_, ref := table.take(1, 0)
	require.True(t, table.add(ref, 0, holdsSlot, 8))
	for _, c := range []struct {
		at    float64 // s
		usage float64
	}{{0, 0}, {5, 4}, {10, 6}, {15, 7}, {1000, 8}} {
		require.InDelta(t, c.usage, table.find(1, int64(c.at*1e9)).usage, 1e-9)
	}
	require.True(t, table.add(ref, 1000e9, holdsSlot, -8))
	require.InDelta(t, 4, table.find(1, 1005e9).usage, 1e-9)
	require.InDelta(t, 4, table.find(1, 900e9).usage, 1e-9, "time never goes back")
	require.Nil(t, table.find(2, 0))
}

func TestDecay(t *testing.T) {
	for x := 1e-9; x < 50; x *= 1.01 {
		require.InDelta(t, math.Exp(-x), decay(x), 2e-7)
	}
}

// TestAFloodDoesNotWashOutTheGreedy: 200,000 clients that come once.
func TestAFloodDoesNotWashOutTheGreedy(t *testing.T) {
	table := newClientTable(clientEntries)
	const greedy = 100
	for key := range uint64(greedy) {
		_, ref := table.take(key, 0)
		table.add(ref, 0, holdsSlot, 5)
		table.add(ref, 5e9, holdsSlot, -5)
	}
	for key := range uint64(2e5) {
		now := 5e9 + int64(key)*5000
		_, ref := table.take(1000+key, now)
		table.add(ref, now, holdsSlot, 1)
		table.add(ref, now+1e6, holdsSlot, -1)
	}
	for key := range uint64(greedy) {
		client := table.find(key, 6e9)
		require.NotNil(t, client)
		require.Greater(t, client.usage, 2.)
	}
}

// TestAForgottenClientIsChargedAfterwards: its slots were not forgotten.
func TestAForgottenClientIsChargedAfterwards(t *testing.T) {
	b := newBench(t, Config{Initial: 1000})
	ticket := b.get(Request{Client: 1})
	*b.clients.find(1, 0) = clientEntry{gen: ticket.record.ref.gen + 1}
	b.pass(5e9)
	ticket.Release(b.now)
	client := b.clients.find(1, b.Limiter.now)
	require.NotNil(t, client)
	require.InDelta(t, 0.69, client.usage, 0.01)
	require.Zero(t, client.held)
}

func TestActiveClientsAreEstimated(t *testing.T) {
	for _, n := range []int{1, 10, 1000, 20000, 100000} {
		var a activeClients
		for range 3 {
			for i := range n {
				a.see(mixed(uint64(i)), 1)
			}
		}
		require.InEpsilon(t, n, a.estimate, 0.03)
		a.turn(activePeriod + 1)
		require.InEpsilon(t, n, a.estimate, 0.03, "still there for another period")
		a.turn(2*activePeriod + 1)
		require.Zero(t, a.estimate)
		a.see(1, 2*activePeriod+1)
		a.turn(4*activePeriod + 1)
		require.Zero(t, a.estimate, "both periods passed at once")
	}
}

func TestActiveClientsSaturate(t *testing.T) {
	var a activeClients
	for i := range uint64(activeBits) {
		a.see(i, 1)
	}
	require.InDelta(t, 340000, a.estimate, 10000)
}
