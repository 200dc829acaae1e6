package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	names := func(rows []row) (names []string) {
		for _, r := range rows {
			names = append(names, r.name)
		}
		return names
	}
	all, err := choose(nil)
	require.NoError(t, err)
	require.Equal(t, slices.Concat(names(cacheRows), names(limitRows), names(breakerRows), names(wafRows), names(tunnelRows)), names(all))
	for _, test := range []struct{ args, want []string }{
		{[]string{"cache"}, names(cacheRows)},
		{[]string{"hit-1k"}, []string{"hit-1k"}},
		{[]string{"purge", "hit-1k"}, []string{"purge", "hit-1k"}},
		{[]string{"limit-request", "hit-1k"}, []string{"limit-request", "hit-1k"}},
		{[]string{"cache", "hit-1k", "limit-request"}, append(names(cacheRows), "limit-request")},
		{[]string{"hit-1k", "hit-1k"}, []string{"hit-1k"}},
		{[]string{"limit", "breaker"}, append(names(limitRows), names(breakerRows)...)},
	} {
		rows, err := choose(test.args)
		require.NoError(t, err)
		require.Equal(t, test.want, names(rows), "%v", test.args)
	}
	for _, args := range [][]string{{"waf2"}, {"cache", "speed"}, {""}} {
		_, err = choose(args)
		require.ErrorContains(t, err, fmt.Sprintf("unknown suite or row %q", args[len(args)-1]))
	}
}

func TestRowNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range suites {
		seen[s.name] = true
	}
	for _, r := range slices.Concat(cacheRows, limitRows, breakerRows, wafRows, tunnelRows) {
		require.False(t, seen[r.name], r.name)
		seen[r.name] = true
	}
}

// tableLines returns the lines that a function adds to a table.
func tableLines(add func(*table)) []string {
	var out bytes.Buffer
	add(&table{out: &out, row: "row"})
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	tab := table{out: &out, row: "hit-1k"}
	tab.add(finding{what: "CPU", measured: "1.00x", target: "<= 1.08x", reached: true, beside: "nginx 0.40x"})
	tab.add(finding{what: "CPU", measured: "2.00x", target: "<= 1.08x"})
	tab.add(finding{what: "CPU", measured: "2.00x"})
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte{'\n'})
	require.Len(t, lines, 3)
	require.Regexp(t, `^hit-1k +CPU +1\.00x +<= 1\.08x +ok +nginx 0\.40x$`, string(lines[0]))
	require.Regexp(t, `^hit-1k +CPU +2\.00x +<= 1\.08x +MISS +$`, string(lines[1]))
	require.NotContains(t, string(lines[2]), "MISS")
}

func TestIsHit(t *testing.T) {
	for status, want := range map[string]bool{
		"edge; hit; ttl=5": true, "edge;hit": true, "edge; fwd=uri-miss; stored": false, "edge; fwd=stale; detail=hit": false, "": false,
	} {
		require.Equal(t, want, isHit([]byte(status)), status)
	}
}

func TestStall(t *testing.T) {
	require.True(t, stall(loadResult{perSecond: []int64{100, 90, 30}}).reached)
	require.False(t, stall(loadResult{perSecond: []int64{100, 90, 20}}).reached)
	require.False(t, stall(loadResult{}).reached, "nothing was measured")
}

// TestHotObjects: the stream of purges must not hit what it is compared with.
func TestHotObjects(t *testing.T) {
	var objects []int64
	for i := range int64(streamHot) {
		o := hotObject(i)
		require.GreaterOrEqual(t, o%purgeTags, int64(purgeTags/2))
		require.Less(t, o, int64(purgeObjectsShort))
		objects = append(objects, o)
	}
	slices.Sort(objects)
	require.Len(t, slices.Compact(objects), streamHot)
}

// TestPurgeKinds: each round of a kind has an object that its purge hits and,
// unless it hits everything, one that it does not.
func TestPurgeKinds(t *testing.T) {
	s := purgeStore{folder: "/page1/"}
	for _, k := range s.kinds() {
		for n := range int64(purgeRounds) {
			require.Less(t, k.hit(n), int64(purgeObjectsShort))
			if k.untouched == nil {
				continue
			}
			hit, other := k.hit(n), k.untouched(n)
			require.Less(t, other, int64(purgeObjectsShort))
			switch k.name {
			case "tag":
				require.Equal(t, k.what(n)["tag"], purgeTag(hit))
				require.NotEqual(t, k.what(n)["tag"], purgeTag(other))
			case "host":
				require.Equal(t, k.what(n)["host"], purgeHost(hit))
				require.NotEqual(t, k.what(n)["host"], purgeHost(other))
			case "prefix":
				var in, out request
				s.request(hit, &in)
				s.request(other, &out)
				prefix := k.what(n)["prefix"].(string) + "/"
				require.Contains(t, in.path, prefix)
				require.NotContains(t, out.path, prefix)
			}
		}
	}
}

func TestParseBreakerErrors(t *testing.T) {
	const text = `# HELP caddy_edge_breaker_errors_total Attempts.
caddy_edge_breaker_errors_total{backend="127.0.0.1:1",type="dial"} 3
caddy_edge_breaker_errors_total{backend="127.0.0.1:1",type="tls"} 0
caddy_edge_breaker_errors_total{backend="127.0.0.1:1",type="reset"} 1.5e+06
caddy_edge_breaker_errors_total{backend="127.0.0.1:12",type="dial"} 4
`
	got, err := parseBreakerErrors(text, "127.0.0.1:1")
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"dial": 3, "reset": 1_500_000}, got)
	_, err = parseBreakerErrors(`caddy_edge_breaker_errors_total{backend="a",type="dial"} many`, "a")
	require.ErrorContains(t, err, "many")
}

func TestAddMallocs(t *testing.T) {
	n := []float64{sitePlain: 100, siteBreaker: 104, sitePlainRetry: 101, siteBreakerRetry: 110, sitePlainTwo: 200, siteBreakerTwo: 210, sitePlainThree: 300, siteBreakerThree: 311}
	lines := tableLines(func(tab *table) { tab.addMallocs(n) })
	require.Len(t, lines, 2)
	require.Regexp(t, `^row +allocations +\+4\.0 per request +<= 5 +ok +reverse_proxy 100\.0; where it may retry \+9\.0$`, lines[0])
	require.Regexp(t, `^row +further attempt +\+1\.0 per attempt +none +MISS `, lines[1])
}

func TestRampError(t *testing.T) {
	require.InDelta(t, 0.2, rampError([]float64{0.25, 0.5, 0.75, 0.8}), 1e-9)
	require.InDelta(t, 0, rampError(rampSteps), 0)
	require.Equal(t, "25.0 50.0 75.0 100.0 %", percents(rampSteps))
}

func TestAddInspections(t *testing.T) {
	all := func(nanos float64) map[string]*timing {
		timings := make(map[string]*timing)
		for _, i := range inspections {
			timings[i.name] = &timing{nanos: sample{nanos}}
		}
		return timings
	}
	lines := tableLines(func(tab *table) { require.NoError(t, tab.addInspections(all(1e6), all(2e6))) })
	require.Len(t, lines, len(inspections))
	require.Regexp(t, `^row +GET of a browser +1/2\.00 \(rounds: 2\.00-2\.00\) +<= 1/1\.4 of stock +ok +1\.00 ms, stock 2\.00 ms$`, lines[0])
	require.Regexp(t, `^row +JSON of 64 KiB .* MISS `, lines[3])
	require.Error(t, (&table{}).addInspections(nil, nil))
}
