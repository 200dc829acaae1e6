package adaptive

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// served is what became of one that waited.
type served struct {
	name    string
	refused Refusal
	ticket  Ticket
	after   time.Duration
}

// line is a limiter whose slots are all taken, and those who wait for one.
type line struct {
	*Limiter
	t     *testing.T
	held  []Ticket
	ended chan served
}

func newLine(t *testing.T, cfg Config) *line {
	t.Helper()
	cfg.Initial = 4
	l, err := New(cfg, time.Now())
	require.NoError(t, err)
	n := &line{Limiter: l, t: t, ended: make(chan served, 100)}
	for i := range 4 {
		ticket, refused := l.Wait(t.Context(), time.Now(), Request{Client: uint64(100 + i)})
		require.False(t, refused.Refused())
		n.held = append(n.held, ticket)
	}
	return n
}

// join lets somebody wait, and returns when they do.
func (n *line) join(ctx context.Context, name string, r Request) {
	go func() {
		start := time.Now()
		ticket, refused := n.Wait(ctx, start, r)
		n.ended <- served{name, refused, ticket, time.Since(start)}
	}()
	synctest.Wait()
}

// free gives one slot back and returns who ended for it.
func (n *line) free() string {
	n.t.Helper()
	n.held[0].Release(time.Now())
	n.held = n.held[1:]
	s := n.next()
	require.Equal(n.t, Admitted, s.refused.Reason)
	n.held = append(n.held, s.ticket)
	return s.name
}

func (n *line) next() served {
	n.t.Helper()
	synctest.Wait()
	require.NotEmpty(n.t, n.ended, "nobody ended")
	return <-n.ended
}

func TestQueueIsFirstInFirstOutByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(t, Config{QueueSize: 10})
		n.join(t.Context(), "first", Request{Client: 1})
		n.join(t.Context(), "second", Request{Client: 2})
		n.join(t.Context(), "low", Request{Client: 3, Class: Low})
		n.join(t.Context(), "high", Request{Client: 4, Class: High})
		n.join(t.Context(), "third", Request{Client: 5})
		require.Equal(t, 5, n.Status(time.Now()).Queued)
		require.Empty(t, n.ended)
		var order []string
		for range 4 {
			order = append(order, n.free())
		}
		require.Equal(t, []string{"high", "first", "second", "third"}, order)
		n.held[0].Release(time.Now())
		synctest.Wait()
		require.Empty(t, n.ended, "the low class may use three of the four slots")
		n.held[1].Release(time.Now())
		require.Equal(t, "low", n.next().name)
		require.Zero(t, n.Status(time.Now()).Queued)
	})
}

func TestQueueDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(t, Config{QueueSize: 10, QueueDeadline: 200 * ms})
		n.join(t.Context(), "patient", Request{Client: 1})
		time.Sleep(199 * ms)
		synctest.Wait()
		require.Empty(t, n.ended)
		time.Sleep(2 * ms)
		s := n.next()
		require.Equal(t, QueueDeadline, s.refused.Reason)
		require.Equal(t, 200*ms, s.after)
		require.Zero(t, s.ticket)
		status := n.Status(time.Now())
		require.Zero(t, status.Queued)
		require.Equal(t, uint64(1), status.Refused[QueueDeadline])
		require.Equal(t, StateShedding, status.State)
	})
}

// TestStandingQueue: once it has not been empty for a deadline, the last comes
// first, and those who join wait for a twentieth of it.
func TestStandingQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(t, Config{QueueSize: 10, QueueDeadline: 200 * ms})
		n.join(t.Context(), "expires", Request{Client: 1})
		time.Sleep(150 * ms)
		n.join(t.Context(), "older", Request{Client: 2})
		n.join(t.Context(), "newer", Request{Client: 3})
		time.Sleep(60 * ms)
		require.Equal(t, "expires", n.next().name)
		n.join(t.Context(), "brief", Request{Client: 4})
		time.Sleep(10 * ms)
		s := n.next()
		require.Equal(t, "brief", s.name)
		require.Equal(t, QueueDeadline, s.refused.Reason)
		require.Equal(t, 10*ms, s.after)
		require.Equal(t, "newer", n.free())
		require.Equal(t, "older", n.free())

		n.join(t.Context(), "fresh", Request{Client: 5})
		time.Sleep(190 * ms)
		synctest.Wait()
		require.Empty(t, n.ended, "the queue was empty, so the whole deadline counts again")
		require.Equal(t, "fresh", n.free())
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(t, Config{QueueSize: 2})
		n.join(t.Context(), "first", Request{Client: 1})
		n.join(t.Context(), "second", Request{Client: 2})
		n.join(t.Context(), "third", Request{Client: 3})
		s := n.next()
		require.Equal(t, "third", s.name)
		require.Equal(t, QueueFull, s.refused.Reason)
		require.Zero(t, s.after)
		time.Sleep(time.Second)
	})
}

func TestNobodyWaitsWithoutAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(t, Config{})
		n.join(t.Context(), "one", Request{Client: 1})
		s := n.next()
		require.Equal(t, LimitReached, s.refused.Reason)
		require.Zero(t, s.after)
	})
}

func TestAWaiterWhoseContextEndsLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(t, Config{QueueSize: 10})
		ctx, cancel := context.WithCancel(t.Context())
		n.join(ctx, "gone", Request{Client: 1})
		n.join(t.Context(), "stays", Request{Client: 2})
		time.Sleep(10 * ms)
		cancel()
		s := n.next()
		require.Equal(t, "gone", s.name)
		require.Equal(t, ClientLeft, s.refused.Reason)
		require.Equal(t, 10*ms, s.after)
		require.Equal(t, "stays", n.free())
		require.Equal(t, 4, n.Status(time.Now()).InFlight)
	})
}

// TestASlotGrantedTooLateGoesOn: the waiter was granted a slot just as its
// client left.
func TestASlotGrantedTooLateGoesOn(t *testing.T) {
	n := newLine(t, Config{QueueSize: 10})
	now := time.Now()
	gone := &waiter{answered: make(chan verdict, 1)}
	next := &waiter{answered: make(chan verdict, 1)}
	n.mu.Lock()
	n.waiting.push(gone, n.now)
	n.waiting.push(next, n.now)
	n.mu.Unlock()
	n.held[0].Release(now)
	require.False(t, gone.queued)
	_, refused := n.leave(gone)
	require.Equal(t, ClientLeft, refused.Reason)
	require.Len(t, next.answered, 1)
	ticket, refused := n.expire(next, now)
	require.Equal(t, Admitted, refused.Reason, "a slot at the last moment is taken")
	ticket.Release(now)
	require.Equal(t, 3, n.Status(now).InFlight)
}

// TestAQueueGetsWhatTimeFrees: a slow upload leaves its slot without any call.
func TestAQueueGetsWhatTimeFrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{Initial: 4, QueueSize: 1, QueueDeadline: time.Second}, time.Now())
		require.NoError(t, err)
		for i := range 4 {
			_, refused := l.Acquire(time.Now(), Request{Client: uint64(i), Body: true})
			require.False(t, refused.Refused())
		}
		ticket, refused := l.Wait(t.Context(), time.Now(), Request{Client: 9})
		require.False(t, refused.Refused())
		ticket.Release(time.Now())
	})
}

func TestAGreaterLimitServesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(t, Config{QueueSize: 10})
		n.join(t.Context(), "one", Request{Client: 1})
		require.NoError(t, n.Reconfigure(time.Now(), Config{Min: 5, QueueSize: 10}))
		require.Equal(t, "one", n.next().name)
	})
}

// TestOneClientDoesNotFillTheQueue: a quarter of it is what one client may have.
func TestOneClientDoesNotFillTheQueue(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want int
	}{
		{Config{QueueSize: 8}, 2},
		{Config{QueueSize: 3}, 1},
		{Config{QueueSize: 8, NoFairShare: true}, 8},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newLine(t, c.cfg)
			for range c.want {
				n.join(t.Context(), "waits", Request{Client: 1})
			}
			require.Empty(t, n.ended)
			n.join(t.Context(), "too many", Request{Client: 1})
			s := n.next()
			require.Equal(t, []any{"too many", QueueFull}, []any{s.name, s.refused.Reason})
			if c.want < c.cfg.QueueSize {
				n.join(t.Context(), "another", Request{Client: 2})
				require.Empty(t, n.ended)
			}
			require.Equal(t, "waits", n.free())
			n.join(t.Context(), "in its place", Request{Client: 1})
			require.Empty(t, n.ended)
			time.Sleep(time.Second)
			synctest.Wait()
			require.Zero(t, n.Status(time.Now()).Queued)
			n.mu.Lock()
			defer n.mu.Unlock()
			require.Empty(t, n.waiting.byClient)
		})
	}
}

// TestTheGreedyDoNotQueue: who is over the share is refused instead of waiting,
// and who comes to be while waiting is refused when there is a slot.
func TestTheGreedyDoNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(t, Config{QueueSize: 20, QueueDeadline: time.Minute})
		n.join(t.Context(), "early", Request{Client: 1})
		n.join(t.Context(), "honest", Request{Client: 2})
		time.Sleep(50 * time.Second)
		n.mu.Lock()
		entry, _ := n.clients.take(1, n.now)
		entry.advance(int64(50 * time.Second))
		entry.usage = 100
		n.mu.Unlock()
		n.join(t.Context(), "late", Request{Client: 1})
		s := n.next()
		require.Equal(t, []any{"late", OverShare}, []any{s.name, s.refused.Reason})
		n.held[0].Release(time.Now())
		n.held = n.held[1:]
		ended := map[string]Reason{}
		for range 2 {
			s := n.next()
			ended[s.name] = s.refused.Reason
		}
		require.Equal(t, map[string]Reason{"early": OverShare, "honest": Admitted}, ended)
		status := n.Status(time.Now())
		require.Equal(t, []any{uint64(2), 0, 4}, []any{status.Refused[OverShare], status.Queued, status.InFlight})
	})
}
