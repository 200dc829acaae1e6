package main

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFloodAddresses: fresh clients come once, also from the last /64 of an
// IPv6 address on, abusers come again.
func TestFloodAddresses(t *testing.T) {
	seen := make(map[netip.Prefix]bool)
	abusers := make(map[netip.Addr]int)
	var v4, v6 int
	for i := range int64(200_000) {
		a := floodAddr(i)
		if n, ok := floodAbuser(i); ok {
			require.True(t, netip.MustParsePrefix("192.168.0.0/16").Contains(a))
			require.Less(t, n, int64(floodAbusers))
			abusers[a]++
			continue
		}
		client := netip.PrefixFrom(a, 32)
		if a.Is4() {
			v4++
			require.True(t, netip.MustParsePrefix("10.0.0.0/8").Contains(a))
		} else {
			v6++
			client = netip.PrefixFrom(a, 64).Masked()
		}
		require.False(t, seen[client], "%s came before request %d", client, i)
		seen[client] = true
	}
	require.Len(t, abusers, floodAbusers)
	for a, n := range abusers {
		require.Equal(t, 50, n, a)
	}
	require.InDelta(t, v4, v6, 1)
}

// TestFloodAddressesLast: the most clients of a run fit into the address space.
func TestFloodAddressesLast(t *testing.T) {
	const clients = floodWarm + floodClients
	require.Less(t, clients/2+1, 1<<24)
}

func TestFloodIsJudged(t *testing.T) {
	lines := func(passed, refused int64) []string {
		var f flood
		f.passed[7].Store(passed)
		f.fresh.Store(10_000)
		f.refused.Store(refused)
		return tableLines(func(tab *table) { tab.addFlood(&f, 5*time.Second) })
	}
	for _, line := range lines(floodBurst+5*floodRate, 10) {
		require.Contains(t, line, " ok ")
	}
	for _, line := range lines(floodBurst+5*floodRate+1, 11) {
		require.Contains(t, line, " MISS ")
	}
}

func TestFloodGrowthIsJudged(t *testing.T) {
	const before = 100 << 20
	line := func(tenths int64) string {
		return tableLines(func(tab *table) { tab.addGrowth(before, before+before/1000*tenths, "") })[0]
	}
	require.Contains(t, line(-10), " ok ")
	require.Contains(t, line(50), " ok ")
	require.Contains(t, line(51), " MISS ")
}

func TestFloodCounts(t *testing.T) {
	var f flood
	f.count(0, http.StatusOK)
	f.count(0, http.StatusTooManyRequests)
	f.count(floodMix, http.StatusOK)
	f.count(1, http.StatusOK)
	f.count(2, http.StatusTooManyRequests)
	f.count(3, http.StatusBadGateway)
	require.EqualValues(t, 1, f.passed[0].Load())
	require.EqualValues(t, 1, f.passed[1].Load())
	require.EqualValues(t, 3, f.pushed.Load())
	require.EqualValues(t, 2, f.fresh.Load())
	require.EqualValues(t, 1, f.refused.Load())
	require.EqualValues(t, 1, f.unexpected.Load())
}
