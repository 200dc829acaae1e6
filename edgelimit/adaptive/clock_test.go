package adaptive

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bench is a limiter with a clock that only the test moves.
type bench struct {
	*Limiter
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T, cfg Config) *bench {
	t.Helper()
	now := time.Unix(1e9, 0)
	l, err := New(cfg, now)
	require.NoError(t, err)
	return &bench{l, t, now}
}

func (b *bench) pass(d time.Duration) { b.now = b.now.Add(d) }

// get admits a request or fails the test.
func (b *bench) get(r Request) Ticket {
	b.t.Helper()
	ticket, refused := b.Acquire(b.now, r)
	require.Equal(b.t, Admitted, refused.Reason)
	return ticket
}

// fill admits n requests of different clients, from client number first on.
func (b *bench) fill(first, n int) []Ticket {
	b.t.Helper()
	var tickets []Ticket
	for i := range n {
		tickets = append(tickets, b.get(Request{Client: uint64(first + i)}))
	}
	return tickets
}

func (b *bench) release(tickets []Ticket) {
	for _, ticket := range tickets {
		ticket.Release(b.now)
	}
}

// window lets n requests at once take this latency each, which ends a window if
// n is 20 or more.
func (b *bench) window(n int, latency time.Duration) {
	b.t.Helper()
	b.answer(b.fill(1000, n), latency)
}

// answer sends all headers after this time, and then ends all.
func (b *bench) answer(tickets []Ticket, latency time.Duration) {
	b.pass(latency)
	for _, ticket := range tickets {
		ticket.Header(b.now)
	}
	b.release(tickets)
}

func (b *bench) reason(r Request) Reason {
	ticket, refused := b.Acquire(b.now, r)
	ticket.Release(b.now)
	return refused.Reason
}

func (b *bench) status() Status { return b.Status(b.now) }
