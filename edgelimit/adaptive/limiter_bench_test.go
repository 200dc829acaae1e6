package adaptive

import (
	"testing"
	"time"
)

// go test -run - -bench . -benchmem ./edgelimit/adaptive

func BenchmarkAcquireRelease(b *testing.B) {
	for _, bench := range []struct {
		name    string
		clients uint64
		initial int
		hold    int
	}{
		{"one client", 1, 100, 0},
		{"10000 clients", 10000, 100, 0},
		{"above half of the limit", 100, 100, 75},
	} {
		b.Run(bench.name, func(b *testing.B) {
			now := time.Now()
			l, err := New(Config{Initial: bench.initial}, now)
			if err != nil {
				b.Fatal(err)
			}
			for range bench.hold {
				l.Acquire(now, Request{Client: 1 << 40})
			}
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				i++
				now = now.Add(10 * time.Microsecond)
				ticket, _ := l.Acquire(now, Request{Client: i % bench.clients})
				ticket.Release(now)
			}
		})
	}
}

func BenchmarkWholeRequest(b *testing.B) {
	now := time.Now()
	l, err := New(Config{}, now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		i++
		now = now.Add(10 * time.Microsecond)
		ticket, _ := l.Acquire(now, Request{Client: i % 200})
		ticket.Header(now)
		ticket.Release(now)
	}
}

func BenchmarkAcquireReleaseParallel(b *testing.B) {
	start := time.Now()
	l, err := New(Config{Initial: 1000}, start)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := uint64(0); pb.Next(); i++ {
			now := start.Add(time.Duration(i) * time.Microsecond)
			ticket, _ := l.Acquire(now, Request{Client: i % 200})
			ticket.Release(now)
		}
	})
}

func BenchmarkRefused(b *testing.B) {
	now := time.Now()
	l, err := New(Config{Initial: 100}, now)
	if err != nil {
		b.Fatal(err)
	}
	for range 100 {
		l.Acquire(now, Request{Client: 1})
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Acquire(now, Request{Client: 2})
	}
}
