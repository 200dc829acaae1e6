package adaptive

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stage is a bench on which requests end by themselves at set times.
type stage struct {
	*bench
	due eventQueue
}

type stagedEvent struct {
	at time.Time
	do func()
}

// eventQueue keeps one list for each delay, as those of one delay fall due in
// the order in which they were added.
type eventQueue map[time.Duration][]stagedEvent

func newStage(t *testing.T, cfg Config) *stage {
	t.Helper()
	return &stage{newBench(t, cfg), eventQueue{}}
}

// after lets something happen later.
func (s *stage) after(d time.Duration, do func()) {
	s.due[d] = append(s.due[d], stagedEvent{s.now.Add(d), do})
}

// run plays each millisecond.
func (s *stage) run(lasts time.Duration, each func(ms int)) {
	for i := range int(lasts / ms) {
		s.pass(ms)
		for d, events := range s.due {
			for len(events) > 0 && !events[0].at.After(s.now) {
				events[0].do()
				events = events[1:]
			}
			s.due[d] = events
		}
		each(i)
	}
}

// ask sends a request that is answered after a while, and reports whether it was
// admitted.
func (s *stage) ask(client uint64, latency time.Duration) bool {
	ticket, refused := s.Acquire(s.now, Request{Client: client})
	if refused.Refused() {
		return false
	}
	s.after(latency, func() {
		ticket.Header(s.now)
		ticket.Release(s.now)
	})
	return true
}

// TestFreshClientsDoNotInvertTheFairShare: a crowd of which each comes once, or
// one attacker with many addresses, must not have those refused who come again.
// 20 clients want half of an origin of 200/s that is at its limit.
func TestFreshClientsDoNotInvertTheFairShare(t *testing.T) {
	for _, c := range []struct {
		fresh int // per second
		least float64
	}{
		{0, 1},
		{50, 1},
		{200, 200. / 300},
		{2000, 200. / 2100},
	} {
		s := newStage(t, Config{Initial: 20, Max: 21})
		asked, served := 0, 0
		s.run(30*time.Second, func(i int) {
			// Their order changes, so that none is always the one who comes first.
			fresh := func() {
				for k := i * c.fresh / 1000; k < (i+1)*c.fresh/1000; k++ {
					s.ask(uint64(1<<40+k), 100*ms)
				}
			}
			if i%20 < 10 {
				fresh()
			}
			if i%10 == i/10%10 {
				asked++
				if s.ask(uint64(1000+asked%20), 100*ms) {
					served++
				}
			}
			if i%20 >= 10 {
				fresh()
			}
		})
		require.GreaterOrEqual(t, float64(served), 0.95*c.least*float64(asked), "%d fresh clients per second", c.fresh)
		require.Zero(t, s.status().Refused[OverShare], "%d fresh clients per second", c.fresh)
	}
}

// TestNobodyCollectsStreams: neither by event streams, which are refused at their
// header, nor by reading slowly. The others are not concerned.
func TestNobodyCollectsStreams(t *testing.T) {
	for _, noFairShare := range []bool{false, true} {
		b := newBench(t, Config{Initial: 10, Max: 100, Streams: 20, NoFairShare: noFairShare})
		for range 5000 {
			ticket, refused := b.Acquire(b.now, Request{Client: 1})
			require.False(t, refused.Refused())
			if ticket.Stream(b.now).Refused() {
				ticket.Release(b.now)
			}
		}
		require.Equal(t, 20, b.status().Streams)

		b = newBench(t, Config{Initial: 10, Max: 100, Streams: 20, NoFairShare: noFairShare})
		for range 200 {
			for {
				ticket, refused := b.Acquire(b.now, Request{Client: 1})
				if refused.Refused() {
					break
				}
				ticket.Header(b.now)
			}
			b.pass(5 * time.Second)
		}
		require.LessOrEqual(t, b.status().Streams, 20+10, "the cap and what was in flight")
		require.Equal(t, StreamsFull, b.reason(Request{Client: 1}))
		require.Equal(t, Admitted, b.reason(Request{Client: 2}))
	}
}

// TestNobodyStagesUploads: a client that withholds the ends of many bodies, and
// then sends them all at once, brings back no more than its part of the limit.
func TestNobodyStagesUploads(t *testing.T) {
	s := newStage(t, Config{Initial: 100, Max: 101})
	var staged []Ticket
	s.run(30*time.Second, func(i int) {
		if i%10 == 0 {
			require.True(t, s.ask(uint64(1000+i/10%50), 5*ms))
			if ticket, refused := s.Acquire(s.now, Request{Client: 1, Body: true}); !refused.Refused() {
				staged = append(staged, ticket)
			}
		}
	})
	s.pass(time.Second)
	// 25, and those that were in slots when these were counted, one in 10 ms.
	require.LessOrEqual(t, s.status().Uploads, 25+50)
	for _, ticket := range staged {
		ticket.BodyRead(s.now)
	}
	require.LessOrEqual(t, s.status().InFlight, 25+50)
	for i := range uint64(20) {
		require.Equal(t, Admitted, s.reason(Request{Client: 1000 + i}))
	}
}

// TestAbortsOfASlowPageAreBounded: others are answered in 20 ms, and one client
// asks 1000 times a second for a page of 3 s and leaves after 1 ms. It gets the
// limit once in the time that an aborted request counts, not in 20 ms.
func TestAbortsOfASlowPageAreBounded(t *testing.T) {
	s := newStage(t, Config{Initial: 100, Max: 101})
	atOrigin, most := 0, 0
	s.run(10*time.Second, func(i int) {
		if i%10 == 0 {
			s.ask(uint64(1000+i/10%200), 20*ms)
		}
		if i < 2000 {
			return
		}
		ticket, refused := s.Acquire(s.now, Request{Client: 1})
		if refused.Refused() {
			return
		}
		atOrigin++
		most = max(most, atOrigin)
		s.after(ms, func() {
			ticket.Abandoned(s.now)
			ticket.Release(s.now)
		})
		s.after(3*time.Second, func() { atOrigin-- })
	})
	require.LessOrEqual(t, most, 6*101, "3 s of slots of 500 ms")
}

// TestOneImpatientClientDoesNotLowerTheLimit: 100 others a second are content
// with 60 ms, and one leaves 150 times a second after 130 ms.
func TestOneImpatientClientDoesNotLowerTheLimit(t *testing.T) {
	s := newStage(t, Config{Initial: 100})
	asked, served := 0, 0
	s.run(60*time.Second, func(i int) {
		if i%10 == 0 {
			asked++
			if s.ask(uint64(1000+asked%200), 60*ms) {
				served++
			}
		}
		if i*150/1000 == (i+1)*150/1000 {
			return
		}
		if ticket, refused := s.Acquire(s.now, Request{Client: 1}); !refused.Refused() {
			s.after(130*ms, func() {
				ticket.Abandoned(s.now)
				ticket.Release(s.now)
			})
		}
	})
	require.GreaterOrEqual(t, s.status().Limit, 100)
	require.Equal(t, asked, served)
}
