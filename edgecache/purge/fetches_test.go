package purge

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/object"
)

// sweepNothing lets a table forget, beside an empty store.
func sweepNothing(t *Table) {
	t.Sweep(func(func(*object.Object) bool) {}, func(*object.Object) {})
}

// A write every two seconds, each of which purges, and a sweep every ten: a
// fetch of thirteen seconds must be stored all the same.
func TestSlowFetchIsStoredDespitePurgesAndSweeps(t *testing.T) {
	table := New()
	table.Add(Purge{Kind: URL, Value: "https://h/written/before"})
	seq := table.Begin()
	for second := range 13 {
		if second%2 == 0 {
			table.Add(Purge{Kind: URL, Value: "https://h/written/" + strconv.Itoa(second)})
		}
		if second%10 == 1 {
			sweepNothing(table)
		}
	}
	require.True(t, table.Accept(seq))
	require.Equal(t, Gone, table.Check(newObject(seq, "k", "https://h/written/0")), "its purge was swept over, but must be known")
	require.Equal(t, Gone, table.Check(newObject(seq, "k", "https://h/written/12")))
	o := newObject(seq, "k", "https://h/slow")
	require.Equal(t, Live, table.Check(o))
	table.End(seq)

	sweepNothing(table)
	require.Zero(t, table.Outstanding())
	require.Equal(t, Live, table.Check(o), "what was stored lives on when its purges are forgotten")
	require.False(t, table.Accept(seq))
}

func TestSweepForgetsUpToTheOldestFetch(t *testing.T) {
	table := New()
	purge := func(key string) { table.Add(Purge{Kind: Key, Value: key}) }
	purge("a")
	first := table.Begin()
	second := table.Begin()
	require.Equal(t, first, second)
	purge("b")
	third := table.Begin()
	purge("c")

	for _, step := range []struct {
		name        string
		end         uint64
		outstanding int // after the end of the fetch and a sweep
		refused     uint64
	}{
		{"one of two with the same number", first, 2, first - 1},
		{"the other", second, 1, second},
		{"the last", third, 0, third},
	} {
		table.End(step.end)
		sweepNothing(table)
		require.Equal(t, step.outstanding, table.Outstanding(), step.name)
		require.False(t, table.Accept(step.refused), step.name)
		require.True(t, table.Accept(step.refused+1), step.name)
	}
	require.Empty(t, table.fetches.counts)
}

// A fetch that ends between a pass and the forgetting after it: its object may
// have been checked before the last purge and stored behind the pass.
func TestFetchThatEndsDuringAPassIsKept(t *testing.T) {
	for _, c := range []struct {
		purge string
		want  Verdict
	}{
		{"https://h/a", Gone},
		{"https://h/other", Live},
	} {
		table := New()
		seq := table.Begin()
		o := newObject(seq, "k", "https://h/a")
		require.Equal(t, Live, table.Check(o))
		table.Add(Purge{Kind: URL, Value: c.purge})
		table.Sweep(func(func(*object.Object) bool) { table.End(seq) }, func(*object.Object) {})
		require.Equal(t, c.want, table.Check(o), c.purge)
	}
}

// A fetch that begins during a pass must not have its purges forgotten by it.
func TestFetchThatBeginsDuringAPassIsKept(t *testing.T) {
	table := New()
	table.Add(Purge{Kind: Key, Value: "before"})
	var seq uint64
	table.Sweep(func(func(*object.Object) bool) {
		seq = table.Begin()
		table.Add(Purge{Kind: Key, Value: "k"})
	}, func(*object.Object) {})
	require.True(t, table.Accept(seq))
	require.Equal(t, Gone, table.Check(newObject(seq, "k", "https://h/a")))
	require.Equal(t, Live, table.Check(newObject(seq, "l", "https://h/a")))
}

func TestEndOfANumberNotInUse(t *testing.T) {
	table := New()
	table.End(7)
	seq := table.Begin()
	table.End(7)
	table.Add(Purge{Kind: Key, Value: "a"})
	sweepNothing(table)
	require.True(t, table.Accept(seq), "somebody else's end does not concern it")
	require.Equal(t, 1, table.Outstanding())
}

// A fetch that never ends may hold up neither the memory nor, by filling the
// table, the whole cache: it is given up.
func TestNeverEndingFetchIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		most int
	}{
		{Tag, MaxOutstanding / keptShare},
		{Wildcard, MaxWildcards / keptShare},
	} {
		table := New()
		o := newObject(0, "k", "https://h/a", "unrelated")
		endless := table.Begin()
		sweep := func() {
			table.Sweep(func(yield func(*object.Object) bool) { yield(o) }, func(*object.Object) {
				t.Error("what no purge concerns was dropped")
			})
		}
		n := 0
		purge := func(count int) {
			for range count {
				n++
				table.Add(Purge{Kind: c.kind, Value: fmt.Sprintf("x%d", n)})
			}
		}

		purge(c.most - 1)
		sweep()
		require.True(t, table.Accept(endless))
		require.Equal(t, c.most-1, table.Outstanding())
		purge(1)
		sweep()
		require.False(t, table.Accept(endless))
		require.Zero(t, table.Outstanding())

		// It holds up nothing any more, though others are respected as ever.
		purge(10)
		sweep()
		require.Zero(t, table.Outstanding())
		next := table.Begin()
		purge(10)
		sweep()
		require.True(t, table.Accept(next))
		require.Equal(t, 10, table.Outstanding())

		for range 2*keptShare + 1 { // more than a table takes
			purge(c.most / 2)
			sweep()
			require.Less(t, table.Outstanding(), c.most)
			require.Equal(t, Live, table.Check(o))
		}
		table.End(endless)
		require.False(t, table.Accept(endless))
	}
}

// Without a sweep the room is bounded as well, whatever is under way.
func TestTooManyPurgesDuringAFetch(t *testing.T) {
	table := New()
	seq := table.Begin()
	for i := range MaxOutstanding + 10 {
		table.Add(Purge{Kind: Tag, Value: strconv.Itoa(i)})
	}
	require.Equal(t, 10, table.Outstanding())
	require.Equal(t, Gone, table.Check(newObject(seq, "k", "https://h/a")))
	later := table.Begin()
	require.Equal(t, Live, table.Check(newObject(later, "k", "https://h/a")))
}

// Fetches must see every purge since they began and no other, while purges are
// added and swept beside them.
func TestConcurrentFetches(t *testing.T) {
	table := New()
	// So few that even all wildcards together give no fetch up.
	const fetchers, rounds = 8, 400
	require.Less(t, fetchers*(rounds/numKinds+1), MaxWildcards/keptShare)
	var wg sync.WaitGroup
	for worker := range fetchers {
		wg.Go(func() {
			for round := range rounds {
				seq := table.Begin()
				if !table.Accept(seq) {
					t.Errorf("refused %d, which is under way", seq)
				}
				mine := newObject(seq, "k", "https://h/a/b", "t")
				if table.Seq() == seq && table.Check(mine) == Gone && table.Seq() == seq {
					t.Error("gone although nothing was purged since it was made")
				}
				kind := (worker + round) % numKinds
				added := table.Add(Purge{Kind: Kind(kind), Value: concurrentValues[kind]})
				if table.Check(mine) != Gone {
					t.Errorf("alive after its purge %d", added)
				}
				table.End(seq)
			}
		})
		// Nothing but a purge of everything concerns these, so only that may
		// make them go, and never does a sweep.
		wg.Go(func() {
			tag := strconv.Itoa(worker)
			for range rounds {
				seq := table.Begin()
				all := table.newest[All].Load()
				o := newObject(seq, "other "+tag, "https://other/"+tag)
				table.Add(Purge{Kind: Tag, Value: tag})
				if v := table.Check(o); v != Live && table.newest[All].Load() == all && all <= seq {
					t.Errorf("%s though nothing concerns it", v)
				}
				if !table.Accept(seq) {
					t.Errorf("refused %d, which is under way", seq)
				}
				table.End(seq)
			}
		})
	}
	done := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				sweepNothing(table)
			}
		}
	})
	wg.Wait()
	close(done)
	sweeper.Wait()
	require.Equal(t, uint64(2*fetchers*rounds), table.Seq())
	require.Empty(t, table.fetches.counts)
	sweepNothing(table)
	require.Zero(t, table.Outstanding())
	require.Equal(t, table.Seq(), table.state.Load().floor)
}
