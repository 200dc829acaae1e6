package breaker

// go test -run '^$' -bench . ./edgebreaker/breaker
//
// The clock is an argument everywhere; BenchmarkClock is what reading it costs.

import (
	"strconv"
	"testing"
	"time"
)

func benchRules() *Config {
	c := rules()
	c.FailureRatio, c.FailureMinRequests = 0.5, 20
	c.SlowRatio, c.Slow, c.SlowMinRequests = 0.5, time.Second, 20
	c.Ramp = Ramp{Shares: []float64{0.25, 0.5, 0.75, 1}, Each: 10 * time.Second}
	return c
}

func BenchmarkClock(b *testing.B) {
	for b.Loop() {
		_ = time.Now()
	}
}

// A whole request: Ready, Enter, Header, End.
func BenchmarkExchange(b *testing.B) {
	backend, c, now := New("", nil), benchRules(), start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		if !backend.Ready(now, c) {
			b.Fatal("not ready")
		}
		a, _, _ := backend.Enter(now, c)
		a.Header(now, time.Millisecond, Success)
		a.End(now, Success)
	}
}

func BenchmarkExchangeParallel(b *testing.B) {
	backend, c := New("", nil), benchRules()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		now := start
		for pb.Next() {
			now = now.Add(50 * time.Microsecond)
			backend.Ready(now, c)
			a, _, _ := backend.Enter(now, c)
			a.Header(now, time.Millisecond, Success)
			a.End(now, Success)
		}
	})
}

// Every request fails, but too few to open.
func BenchmarkExchangeFailing(b *testing.B) {
	backend, c, now := New("", nil), benchRules(), start
	c.Failures, c.FailureRatio = 0, 1
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		now = now.Add(50 * time.Microsecond)
		o := Failure
		if n%8 == 0 {
			o = Success
		}
		a, _, _ := backend.Enter(now, c)
		a.Header(now, time.Millisecond, o)
		a.End(now, o)
	}
	if backend.State() != Closed {
		b.Fatal("opened")
	}
}

// What a pick asks of each backend.
func BenchmarkLook(b *testing.B) {
	backend, c, now := New("", nil), benchRules(), start
	exchange(b, backend, now, c, Success)
	backend.Recovered(now, now)
	exchange(b, backend, now, c, Success)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		backend.Ready(now, c)
		backend.Share(now, c)
		backend.Active()
		backend.Latency(now)
	}
}

func BenchmarkReadyOpen(b *testing.B) {
	c := benchRules()
	backend, now := opened(b, c), start
	b.ReportAllocs()
	for b.Loop() {
		backend.Ready(now, c)
	}
}

func BenchmarkRegistryGet(b *testing.B) {
	r := NewRegistry(4096, nil)
	for i := range 100 {
		r.Get("10.0.0." + strconv.Itoa(i) + ":8080")
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Get("10.0.0.42:8080")
	}
}

// Each address is new and makes room for itself.
func BenchmarkRegistryFresh(b *testing.B) {
	r, n := NewRegistry(4096, nil), 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		r.Get(strconv.Itoa(n))
	}
}

// Each address is new and finds a table in which everybody is busy.
func BenchmarkRegistryFull(b *testing.B) {
	r, n := NewRegistry(4096, nil), 0
	for n = range 4096 {
		r.Get(strconv.Itoa(n)).Observe(start)
	}
	b.ReportAllocs()
	for b.Loop() {
		n++
		r.Get(strconv.Itoa(n))
	}
}

func BenchmarkBudget(b *testing.B) {
	budget, err := NewBudget(0.2, 10)
	if err != nil {
		b.Fatal(err)
	}
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		budget.Request(now)
		budget.Retry(now)
	}
}

func BenchmarkStatus(b *testing.B) {
	backend, c := New("", nil), benchRules()
	exchange(b, backend, start, c, Success)
	b.ReportAllocs()
	for b.Loop() {
		backend.Status(start)
	}
}
