package breaker

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRegistryKeeps(t *testing.T) {
	r := NewRegistry(2, nil)
	a := r.Get("a:80")
	require.Equal(t, "a:80", a.Address())
	require.Same(t, a, r.Get("a:80"))
	_, ok := r.Lookup("b:80")
	require.False(t, ok)
	require.Equal(t, 1, r.Len())
	require.NotSame(t, a, r.Get("b:80"))
	require.Equal(t, 2, r.Len())
	seen := make(map[string]bool)
	r.Range(func(b *Backend) bool { seen[b.Address()] = true; return true })
	require.Equal(t, map[string]bool{"a:80": true, "b:80": true}, seen)
}

// TestRegistryUnderAFlood: what is worth keeping stays, whatever comes.
func TestRegistryUnderAFlood(t *testing.T) {
	const most = 64
	r := NewRegistry(most, noJitter)
	c := rules()
	active := r.Get("active")
	attempt := active.Observe(start)
	forced := r.Get("forced")
	forced.Force(start, ForceClosed)
	open := r.Get("open")
	for range c.Failures {
		exchange(t, open, start, c, Failure)
	}
	busy := r.Get("in use")
	held := r.Hold("held")
	for n := range 10_000 {
		r.Get("flood " + strconv.Itoa(n))
		require.Same(t, busy, r.Get("in use"), "asked for all the time")
		require.LessOrEqual(t, r.Len(), most+1)
	}
	for name, b := range map[string]*Backend{"active": active, "forced": forced, "open": open, "held": held} {
		kept, ok := r.Lookup(name)
		require.True(t, ok, name)
		require.Same(t, b, kept)
	}
	evicted, unkept := r.Losses()
	require.EqualValues(t, 10_000-(most-4), evicted)
	require.Zero(t, unkept)

	// Open ones go last, so that a flood of addresses that fail does not stay.
	var attempts []Attempt
	for n := range most - 3 {
		b := r.Get("busy " + strconv.Itoa(n))
		attempts = append(attempts, b.Observe(start))
	}
	require.Same(t, open, r.Get("open"))
	last := r.Get("last")
	_, ok := r.Lookup("open")
	require.False(t, ok)
	require.Same(t, last, r.Get("last"))

	// All are busy: it works, and is forgotten.
	lastAttempt := last.Observe(start)
	stranger := r.Get("stranger")
	require.NotSame(t, stranger, r.Get("stranger"))
	exchange(t, stranger, start, c, Success)
	_, unkept = r.Losses()
	require.EqualValues(t, 2, unkept)

	attempt.End(start, Success)
	lastAttempt.End(start, Success)
	for i := range attempts {
		attempts[i].End(start, Success)
	}
	stranger = r.Get("stranger")
	require.Same(t, stranger, r.Get("stranger"))
}

func TestForgottenBackendDoesNoHarm(t *testing.T) {
	r := NewRegistry(1, noJitter)
	c := rules()
	old := r.Get("a") // and before it is entered, it has to make room
	r.Get("b")
	a := mustEnter(t, old, start, c)
	require.NotSame(t, old, r.Get("a"))
	require.False(t, a.Header(start, time.Millisecond, Failure).Changed())
	require.False(t, a.End(start, Failure).Changed())
	require.Zero(t, old.Active())
	require.Zero(t, r.Get("a").Status(start).ConsecutiveFailures)
}

func TestHold(t *testing.T) {
	r := NewRegistry(2, noJitter)
	names := []string{"a", "b", "c", "d", "a"}
	var held []*Backend
	for _, n := range names {
		held = append(held, r.Hold(n))
	}
	require.Same(t, held[0], held[4])
	require.Equal(t, 4, r.Len(), "they come on top of the bound")
	for n := range 100 {
		r.Get(strconv.Itoa(n))
	}
	require.Equal(t, 6, r.Len())
	for i, n := range names {
		require.Same(t, held[i], r.Get(n))
	}
	exchange(t, held[0], start, rules(), Failure)
	r.Release(held[0])
	require.Same(t, held[0], r.Get("a"), "it is held twice")
	for _, b := range held[1:] {
		r.Release(b)
	}
	require.Equal(t, 2, r.Len())
	require.Same(t, held[4], r.Hold("a"), "state outlives who held it")
	require.Equal(t, 1, r.Get("a").Status(start).ConsecutiveFailures)
	r.Release(held[0])
	r.Release(held[0]) // one too many
	require.Equal(t, 2, r.Len())
	require.Same(t, r.Hold("new"), r.Get("new"))
}

func TestReleaseIntoAFullRegistry(t *testing.T) {
	r := NewRegistry(1, noJitter)
	b := r.Hold("a")
	busy := r.Get("b")
	attempt := busy.Observe(start)
	r.Release(b)
	_, ok := r.Lookup("a")
	require.False(t, ok)
	require.Same(t, busy, r.Get("b"))
	attempt.End(start, Ignored)
}

func TestLongAddressesAreNotKept(t *testing.T) {
	r := NewRegistry(10, nil)
	kept, tooLong := strings.Repeat("a", longestAddress), strings.Repeat("a", longestAddress+1)
	one, other := r.Get(kept), r.Get(tooLong)
	require.Same(t, one, r.Get(kept))
	require.NotSame(t, other, r.Get(tooLong))
	require.Equal(t, 1, r.Len())
}

// TestRegistryModel holds the bounds under any order of calls.
func TestRegistryModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 5).Draw(t, "most")
		r := NewRegistry(most, noJitter)
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"})
		type use struct {
			b *Backend
			a Attempt
		}
		var uses []*use
		holds := make(map[string]int)
		holders := make(map[string]*Backend)
		t.Repeat(map[string]func(*rapid.T){
			"get": func(t *rapid.T) { r.Get(name.Draw(t, "name")) },
			"enter": func(t *rapid.T) {
				b := r.Get(name.Draw(t, "name"))
				uses = append(uses, &use{b, b.Observe(start)})
			},
			"end": func(t *rapid.T) {
				if len(uses) > 0 {
					uses[0].a.End(start, Ignored)
					uses = uses[1:]
				}
			},
			"hold": func(t *rapid.T) {
				n := name.Draw(t, "name")
				holders[n] = r.Hold(n)
				holds[n]++
			},
			"release": func(t *rapid.T) {
				if n := name.Draw(t, "name"); holds[n] > 0 {
					r.Release(holders[n])
					holds[n]--
				}
			},
			"": func(t *rapid.T) {
				held := 0
				for n, count := range holds {
					if count > 0 {
						held++
						b, ok := r.Lookup(n)
						require.True(t, ok)
						require.Same(t, holders[n], b)
					}
				}
				require.LessOrEqual(t, r.Len(), most+held)
				seen := 0
				r.Range(func(*Backend) bool { seen++; return true })
				require.Equal(t, r.Len(), seen)
			},
		})
	})
}

func TestStressRegistry(t *testing.T) {
	r := NewRegistry(8, nil)
	var done sync.WaitGroup
	for worker := range 8 {
		done.Go(func() {
			for n := range 2000 {
				switch b := r.Get(strconv.Itoa((worker*7 + n) % 20)); n % 4 {
				case 0:
					a := b.Observe(start)
					a.End(start, Success)
				case 1:
					r.Release(r.Hold(b.Address()))
				case 2:
					r.Range(func(b *Backend) bool { b.Status(start); return true })
				}
			}
		})
	}
	done.Wait()
	require.LessOrEqual(t, r.Len(), 8)
}
