package gcra

// go test -run '^$' -bench . ./edgelimit/gcra
//
// BenchmarkRingBuffer* is the usual way to limit in a Caddy plugin, for
// comparison: a map from a key string to a mutex with a ring buffer of times.
// Both make their key from the address each time and get the time as an argument;
// what it costs to read the clock is BenchmarkClock. Beside ns/op, cpu-ns/op is the
// processor time of the benchmark's thread, which others on the machine do not
// lengthen.

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const benchKeys = 1 << 20

// addresses returns distinct IPv4 addresses as bytes, in random order.
func addresses(n int) [][4]byte {
	out := make([][4]byte, n)
	for i := range out {
		binary.BigEndian.PutUint32(out[i][:], 10<<24|uint32(i))
	}
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// processorTime has a benchmark that is run by b.Loop tell the processor time of
// its thread. Call it in front of the loop, and what it returns behind.
func processorTime(b *testing.B) func() {
	b.ReportAllocs()
	runtime.LockOSThread()
	now := func() int64 {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			b.Fatal(err)
		}
		return t.Nano()
	}
	start := now()
	return func() {
		b.ReportMetric(float64(now()-start)/float64(b.N), "cpu-ns/op")
		runtime.UnlockOSThread()
	}
}

// chargeOne charges one address, its hash included.
func chargeOne(b *testing.B, l *Limit) {
	table, address, now := New(1<<16), addresses(1)[0], Now()
	defer processorTime(b)()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		table.Charge(Hash(address[:]), l, 1, now)
	}
}

func BenchmarkChargeHot(b *testing.B) { chargeOne(b, mustRate(b, 1e6, time.Second, 1<<20)) }
func BenchmarkChargeHotParallel(b *testing.B) {
	table, l := New(1<<16), mustRate(b, 1e6, time.Second, 1<<20)
	address := addresses(1)[0]
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		now := Now()
		for pb.Next() {
			now = now.Add(time.Microsecond)
			table.Charge(Hash(address[:]), l, 1, now)
		}
	})
}

// A million keys in a table for two million.
func BenchmarkChargeRandom(b *testing.B) {
	table, l, keys := New(2*benchKeys), mustRate(b, 100, time.Second, 200), addresses(benchKeys)
	i := 0
	now := Now()
	defer processorTime(b)()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		table.Charge(Hash(keys[i%benchKeys][:]), l, 1, now)
		i++
	}
}

func BenchmarkChargeRandomParallel(b *testing.B) {
	table, l, keys := New(2*benchKeys), mustRate(b, 100, time.Second, 200), addresses(benchKeys)
	var start atomic.Uint32
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := int(start.Add(1)) * 77777
		now := Now()
		for pb.Next() {
			now = now.Add(time.Microsecond)
			table.Charge(Hash(keys[i%benchKeys][:]), l, 1, now)
			i++
		}
	})
}

// Every key is new and evicts another one.
func BenchmarkChargeFresh(b *testing.B) {
	table, l := New(1<<16), mustRate(b, 1, time.Hour, 200)
	var n uint64
	b.ReportAllocs()
	now := Now()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		n++
		table.Charge(scatter(n), l, 1, now)
	}
}

// A flood of ten million keys on a table for 65536.
func BenchmarkFlood(b *testing.B) {
	f := flood{slots: 1 << 16, abusers: 1000, oneShots: 10_000_000, length: 10 * time.Second}
	for b.Loop() {
		r := f.run(b)
		r.check(b)
		b.ReportMetric(float64(r.passed)/(r.legal*float64(r.abusers)), "of-legal")
		b.ReportMetric(float64(r.freshRefused), "fresh-refused")
	}
}

// rings is the baseline.
type rings struct {
	keys   sync.Map
	events int
	window time.Duration
}

type ring struct {
	mu    sync.Mutex
	times []time.Time
	next  int
}

func (r *rings) allow(key string, now time.Time) bool {
	v, ok := r.keys.Load(key)
	if !ok {
		v, _ = r.keys.LoadOrStore(key, &ring{times: make([]time.Time, r.events)})
	}
	one := v.(*ring)
	one.mu.Lock()
	defer one.mu.Unlock()
	if now.Sub(one.times[one.next]) < r.window {
		return false
	}
	one.times[one.next] = now
	one.next = (one.next + 1) % len(one.times)
	return true
}

// keyOf makes the key as a request would, from its address.
func keyOf(address [4]byte) string { return netip.AddrFrom4(address).String() }

func BenchmarkRingBufferHot(b *testing.B) {
	r := &rings{events: 1000, window: time.Millisecond}
	address := addresses(1)[0]
	now := time.Now()
	defer processorTime(b)()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		r.allow(keyOf(address), now)
	}
}

func BenchmarkRingBufferHotParallel(b *testing.B) {
	r := &rings{events: 1000, window: time.Millisecond}
	address := addresses(1)[0]
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for pb.Next() {
			now = now.Add(time.Microsecond)
			r.allow(keyOf(address), now)
		}
	})
}

// Ten events a key, so that a million keys fit into memory.
func BenchmarkRingBufferRandom(b *testing.B) {
	r, keys := &rings{events: 10, window: time.Second}, addresses(benchKeys)
	now := time.Now()
	for _, address := range keys {
		r.allow(keyOf(address), now)
	}
	i := 0
	defer processorTime(b)()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		r.allow(keyOf(keys[i%benchKeys]), now)
		i++
	}
}
