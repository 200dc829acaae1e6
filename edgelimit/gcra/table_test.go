package gcra

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// neighbour returns the i-th of many keys of one set.
func neighbour(set uint64, i int) Key {
	return Key{set: set, print: uint64(i+1) << genBits}
}

func TestTableSize(t *testing.T) {
	for slots, want := range map[int]int{-1: 64, 0: 64, 64: 64, 65: 128, 1000: 1024, 1 << 16: 1 << 16, 1<<16 + 1: 1 << 17} {
		table := New(slots)
		require.Equal(t, want, table.Slots())
		require.LessOrEqual(t, table.Bytes(), 17*want)
		require.Zero(t, uintptr(unsafe.Pointer(&table.sets[0]))%64, "a set is a cache line")
		require.Zero(t, uintptr(unsafe.Pointer(&table.stripes[0]))%64, "a lock is a cache line")
	}
	require.EqualValues(t, 64, unsafe.Sizeof(set{}))
	require.EqualValues(t, 64, unsafe.Sizeof(stripe{}))
}

func TestLeastDebtGoes(t *testing.T) {
	for name, l := range map[string]*Limit{
		"rate":   mustRate(t, 1, time.Second, 10),
		"window": mustWindow(t, 10, time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			table := New(0)
			for i, cost := range []int{5, 3, 9, 4} {
				require.True(t, table.Charge(neighbour(7, i), l, cost, 0).Allowed)
			}
			require.Zero(t, table.Evicted())
			for i := range 10 {
				require.True(t, table.Charge(neighbour(7, 100+i), l, 1, 0).Allowed, "a fresh key is never refused")
			}
			require.EqualValues(t, 10, table.Evicted())
			for i, remaining := range []int{5, 10, 1, 6} {
				require.Equal(t, remaining, table.Check(neighbour(7, i), l, 0, 0).Remaining, "key %d", i)
			}
			used, indebted := table.Count(l, 0)
			require.Equal(t, []int{4, 4}, []int{used, indebted})
			used, indebted = table.Count(l, Time(time.Hour))
			require.Equal(t, []int{4, 0}, []int{used, indebted})

			require.True(t, table.Charge(neighbour(7, 0), l, 5, Time(time.Hour)).Allowed)
			for i := range 100 {
				table.Charge(neighbour(7, 200+i), l, 1, Time(time.Hour))
			}
			require.Equal(t, 5, table.Check(neighbour(7, 0), l, 0, Time(time.Hour)).Remaining)
			require.EqualValues(t, 10+97, table.Evicted(), "idle keys go first and do not count")
		})
	}
}

func TestReset(t *testing.T) {
	table, l := New(0), mustRate(t, 1, time.Second, 5)
	a, b := neighbour(3, 0), neighbour(3, 1)
	require.True(t, table.Charge(a, l, 5, 0).Allowed)
	require.True(t, table.Charge(b, l, 5, 0).Allowed)
	require.True(t, table.Reset(a))
	require.False(t, table.Reset(a))
	require.Equal(t, Verdict{Allowed: true, Remaining: 5}, table.Check(a, l, 1, 0))
	require.Equal(t, 0, table.Check(b, l, 1, 0).Remaining)
	require.True(t, table.Charge(a, l, 5, 0).Allowed)
	require.False(t, table.Charge(a, l, 1, 0).Allowed)
	require.Zero(t, table.Evicted())
}

func TestNothingToWriteBringsNoKey(t *testing.T) {
	table, l := New(0), mustRate(t, 1, time.Second, 5)
	k := HashString("k")
	table.Check(k, l, 1, 0)
	table.Charge(k, l, 0, 0)
	table.Charge(k, l, 6, 0)
	table.Force(k, l, 0, 0)
	table.Refund(k, l, 1, 0)
	used, _ := table.Count(l, 0)
	require.Zero(t, used)
}

// The generation of a slot wraps after 65536 keys.
func TestGenerationWraps(t *testing.T) {
	table, l := New(0), mustRate(t, 1, time.Second, 5)
	abuser := neighbour(0, 0)
	require.True(t, table.Charge(abuser, l, 5, 0).Allowed)
	for i := range 3 << genBits {
		fresh := neighbour(0, i+1)
		require.True(t, table.Charge(fresh, l, 1, 0).Allowed)
		require.Equal(t, 4, table.Check(fresh, l, 0, 0).Remaining)
	}
	require.False(t, table.Charge(abuser, l, 1, 0).Allowed)
	for range 3 << genBits {
		require.True(t, table.Reset(abuser))
		require.True(t, table.Charge(abuser, l, 5, 0).Allowed)
	}
}

// A charge that read its slot before the slot went to another key must not touch
// that key, even though the victim's identity and state are known to it.
func TestLateChargeOfEvictedKey(t *testing.T) {
	table, l := New(0), mustRate(t, 1, time.Second, 5)
	old, fresh := neighbour(0, 0), neighbour(0, 1)
	require.True(t, table.Charge(old, l, 1, 0).Allowed)
	at, val := table.sets[0].find(old.fingerprint())
	require.NotNil(t, at)
	state, v := l.step(charge, val>>genBits, 1, 0)
	require.True(t, v.Allowed)

	// The newcomer has the very state of its victim.
	require.True(t, at.turn(val, fresh.fingerprint(), val>>genBits))
	require.False(t, at.val.CompareAndSwap(val, state<<genBits|val&genMask))
	require.Equal(t, 4, table.Check(fresh, l, 0, 0).Remaining)
	require.Equal(t, 5, table.Check(old, l, 0, 0).Remaining)
}

// Between the two stores of a replacement the slot is nobody's: the victim must
// not read the newcomer's state.
func TestSlotBetweenTwoKeys(t *testing.T) {
	table, l := New(0), mustRate(t, 1, time.Second, 5)
	old, fresh := neighbour(0, 0), neighbour(0, 1)
	require.True(t, table.Charge(old, l, 1, 0).Allowed)
	at, val := table.sets[0].find(old.fingerprint())
	exhausted, _ := l.step(charge, l.idle(0), 5, 0)
	gen := (val + 1) & genMask
	require.True(t, at.val.CompareAndSwap(val, exhausted<<genBits|gen))
	require.Equal(t, 5, table.Check(old, l, 1, 0).Remaining)
	require.Equal(t, 5, table.Check(fresh, l, 1, 0).Remaining)
	at.id.Store(fresh.fingerprint()<<genBits | gen)
	require.Equal(t, 5, table.Check(old, l, 1, 0).Remaining)
	require.Equal(t, 0, table.Check(fresh, l, 1, 0).Remaining)
}

// The slot of a victim that was charged since it was chosen is not taken.
func TestChargedVictimStays(t *testing.T) {
	table, l := New(0), mustRate(t, 1, time.Second, 5)
	old := neighbour(0, 0)
	require.True(t, table.Charge(old, l, 1, 0).Allowed)
	at, val := table.sets[0].find(old.fingerprint())
	require.True(t, table.Charge(old, l, 3, 0).Allowed)
	require.False(t, at.turn(val, neighbour(0, 1).fingerprint(), l.idle(0)))
	require.Equal(t, 1, table.Check(old, l, 0, 0).Remaining)
}

// Of two goroutines that both miss a key the second one finds it.
func TestKeyComesInOnce(t *testing.T) {
	table, l := New(0), mustRate(t, 1, time.Second, 5)
	k := neighbour(0, 0)
	set, lock := table.locate(k)
	state, _ := l.step(charge, l.idle(0), 3, 0)
	require.True(t, lock.bring(set, k.fingerprint(), state, l, 0))
	require.False(t, lock.bring(set, k.fingerprint(), state, l, 0))
	used, _ := table.Count(l, 0)
	require.Equal(t, 1, used)
	require.Equal(t, 2, table.Check(k, l, 0, 0).Remaining)
}

func TestNoAllocations(t *testing.T) {
	table, l := New(1024), mustRate(t, 100, time.Second, 200)
	buffer := []byte("192.0.2.1")
	now := Time(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now += 1000
		buffer[0]++
		k := Hash(buffer).With(3)
		table.Check(k, l, 1, now)
		table.Charge(k, l, 1, now)
		table.Force(k, l, 1, now)
		table.Refund(k, l, 1, now)
		table.Reset(k)
	}))
}
