package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// heldCaller is one of a backend that holds requests.
func heldCaller(t *testing.T) (*holder, *caller) {
	t.Helper()
	all, err := startHolders(1)
	require.NoError(t, err)
	t.Cleanup(func() { closeHolders(all) })
	c := &caller{client: &http.Client{Timeout: time.Minute, Transport: new(http.Transport)}, base: "http://" + all[0].addr}
	t.Cleanup(c.close)
	return all[0], c
}

func TestHolderHolds(t *testing.T) {
	h, c := heldCaller(t)
	volley := c.volley(t.Context(), holdPath, 3, http.MethodGet, http.MethodPost)
	require.NoError(t, awaitHeld(t.Context(), 6, h))
	require.Empty(t, volley)
	h.letGo()
	answers := <-volley
	require.Len(t, answers, 6)
	methods := make(map[string]int)
	for _, a := range answers {
		require.True(t, a.ok())
		require.Equal(t, 1, h.ledger.executed(a.id))
		methods[a.method]++
	}
	require.Equal(t, map[string]int{http.MethodGet: 3, http.MethodPost: 3}, methods)
	require.Zero(t, h.ledger.executed("another"))
}

func TestFlowing(t *testing.T) {
	h, c := heldCaller(t)
	stop := c.flowing(t.Context(), 4, "/", h.ledger, http.MethodGet, http.MethodDelete)
	time.Sleep(20 * time.Millisecond)
	got := stop()
	require.Positive(t, got.done[http.MethodGet])
	require.Positive(t, got.done[http.MethodDelete])
	require.Zero(t, got.failed, got)
	require.Zero(t, got.twice)
}

func TestTrafficNotesFailures(t *testing.T) {
	books := &ledger{runs: map[string]int{"p1": 2, "g1": 2, "p2": 1}}
	sums := newTraffic()
	for range 2 {
		got := newTraffic()
		got.add(&answer{method: http.MethodPost, id: "p1", status: http.StatusOK}, books)
		got.add(&answer{method: http.MethodPost, id: "p2", status: http.StatusBadGateway, took: time.Second}, books)
		got.add(&answer{method: http.MethodGet, id: "g1", status: http.StatusOK, err: http.ErrHandlerTimeout, cut: true}, books)
		sums.merge(got)
	}
	require.Equal(t, 4, sums.failed)
	require.Equal(t, 2, sums.cut)
	require.Equal(t, 2, sums.twice, "a GET may be executed twice")
	require.Equal(t, time.Second, sums.slowest)
	require.Equal(t, "2 GET, 4 POST, 2 times GET cut off after its header, 2 times POST: 502", sums.String())
}

func TestLosses(t *testing.T) {
	books := &ledger{runs: map[string]int{"p1": 1, "p2": 1, "g1": 2}}
	ok, refused := http.StatusOK, http.StatusBadGateway
	for _, test := range []struct {
		name     string
		answers  []answer
		accepted bool
		right    bool
	}{
		{"a GET is sent again, a POST is not", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p1", status: refused}}, true, true},
		{"a POST that nobody had is sent again", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p1", status: ok}}, false, true},
		{"it is not", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p3", status: refused}}, false, false},
		{"a GET fails", []answer{{method: "GET", id: "g1", status: refused}, {method: "POST", id: "p1", status: ok}}, true, false},
		{"a POST is executed twice", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "g1", status: ok}}, true, false},
		{"a POST is served by nobody", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p9", status: ok}}, true, false},
		{"a POST ends otherwise", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p2", status: http.StatusGatewayTimeout}}, true, false},
		{"there was nothing", nil, true, false},
	} {
		var l, sum losses
		l.note(test.answers, books, test.accepted)
		sum.add(l)
		require.Equal(t, test.right, sum.right(), test.name)
	}
}

// TestPaces: a ratio is that of rounds beside each other.
func TestPaces(t *testing.T) {
	var all [3]pace
	all[siteTunnel].add(loadResult{requests: 100, time: time.Second, latencies: sample{.001, .003}}, spent{edge: 8 * time.Millisecond, agent: 6 * time.Millisecond})
	all[siteDirect].add(loadResult{requests: 100, time: time.Second / 2, latencies: sample{.001, .002}}, spent{edge: 10 * time.Millisecond})
	all[siteIdle].add(loadResult{requests: 100, time: time.Second, latencies: sample{.001, .003}}, spent{edge: 10 * time.Millisecond})
	lines := tableLines(func(tab *table) { tab.addPaces(all[:]) })
	require.Len(t, lines, 3)
	require.Regexp(t, `^row +rate +0\.50x .*, 100/s +>= 0\.70x of direct +MISS +direct 200/s; .* against which 1\.00x`, lines[0])
	require.Regexp(t, `^row +CPU of edge and agent +1\.40x .*, 140\.0 us +<= 1\.6x of direct +ok +of the agent 60\.0 us; direct 100\.0 us`, lines[1])
	require.Regexp(t, `^row +P99 +1\.50x .*, 3\.0 ms +<= 1\.5x of direct +ok `, lines[2])
}

func TestAddCrowded(t *testing.T) {
	tunnel := crowded{p99: .010, resident: tricklers * 100 << 10, heap: tricklers * 300 << 10, sent: 10}
	direct := crowded{p99: .008, sent: 10}
	lines := tableLines(func(tab *table) { tab.addCrowded([]crowded{tunnel}, []crowded{direct}, time.Second) })
	require.Len(t, lines, 4)
	require.Regexp(t, `0 of 20 failed .* ok `, lines[0])
	require.Regexp(t, `1\.25x .* ok `, lines[1])
	require.Regexp(t, `100 KiB .* ok `, lines[2])
	require.Regexp(t, `300 KiB .* MISS `, lines[3])
	tunnel.failed = 1
	lines = tableLines(func(tab *table) { tab.addCrowded([]crowded{tunnel}, []crowded{direct}, time.Second) })
	require.Regexp(t, ` MISS `, lines[0])
	require.Regexp(t, ` MISS `, lines[1], "who is refused is served fast")
}

func TestAgentState(t *testing.T) {
	a := agentState{Agent: "a", Since: time.Unix(1, 0), Remote: "r"}
	require.True(t, a.same(a))
	require.False(t, a.same(agentState{}))
	require.False(t, a.same(agentState{Agent: "a", Since: time.Unix(2, 0), Remote: "r"}))
	require.False(t, a.serves())
}
