package adaptive

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

func TestLimitIsHeldByClass(t *testing.T) {
	for _, c := range []struct {
		class Class
		room  int
	}{{High, 110}, {Normal, 100}, {Low, 80}, {Background, 50}, {Class(200), 100}} {
		t.Run(c.class.String(), func(t *testing.T) {
			b := newBench(t, Config{Initial: 100})
			for i := range c.room {
				b.get(Request{Client: uint64(i), Class: c.class})
			}
			_, refused := b.Acquire(b.now, Request{Client: 1 << 30, Class: c.class})
			require.Equal(t, Refusal{LimitReached, 500 * ms}, refused, "without a window the target tells when to retry")
			require.Equal(t, c.room, b.status().InFlight)
			require.Equal(t, uint64(1), b.status().Refused[LimitReached])
		})
	}
}

func TestHigherClassFindsRoom(t *testing.T) {
	b := newBench(t, Config{Initial: 100})
	b.fill(0, 50)
	require.Equal(t, LimitReached, b.reason(Request{Class: Background}))
	require.Equal(t, Admitted, b.reason(Request{Class: Low}))
	b.fill(50, 30)
	require.Equal(t, LimitReached, b.reason(Request{Client: 99, Class: Low}))
	require.Equal(t, Admitted, b.reason(Request{Client: 99}))
	b.fill(80, 20)
	require.Equal(t, LimitReached, b.reason(Request{Client: 100}))
	require.Equal(t, Admitted, b.reason(Request{Client: 101, Class: High}))
}

func TestLimitMovesByTheP95(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       int
		latency time.Duration
		limit   int
	}{
		{"far too slow", 40, 2 * time.Second, 50},
		{"by the ratio", 40, 625 * ms, 79}, // the histogram is within 6 %
		{"at least by a twentieth", 40, 520 * ms, 94},
		{"fast but not used", 40, 200 * ms, 100},
		{"fast and used", 50, 250 * ms, 112},
		{"too few samples", 19, 2 * time.Second, 100},
		{"too short a time", 50, 199 * ms, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, Config{Initial: 100})
			b.window(c.n, c.latency)
			require.InDelta(t, c.limit, b.status().Limit, 1)
		})
	}
}

// TestLimitGrowsWhenSomebodyWasRefused: two of five slots are less than half, but
// all that the background may have.
func TestLimitGrowsWhenSomebodyWasRefused(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		b := newBench(t, Config{Initial: 5})
		for i := range 10 {
			tickets := b.fill(0, 2)
			if refuse && i == 0 {
				require.Equal(t, LimitReached, b.reason(Request{Class: Background}))
			}
			b.answer(tickets, 100*ms)
		}
		require.Equal(t, refuse, b.status().Limit > 5)
	}
}

func TestLimitStaysWithinItsBounds(t *testing.T) {
	b := newBench(t, Config{Initial: 30, Min: 25, Max: 40})
	for range 10 {
		b.window(20, 3*time.Second)
		b.pass(10 * time.Second)
	}
	require.Equal(t, 25, b.status().Limit)
	for range 20 {
		b.window(25, 250*ms)
		b.pass(10 * time.Second)
	}
	require.Equal(t, 40, b.status().Limit)
}

// TestOneQueueIsAnsweredOnce: what was already in flight when the limit fell does
// not let it fall again.
func TestOneQueueIsAnsweredOnce(t *testing.T) {
	b := newBench(t, Config{Initial: 100})
	tickets := b.fill(0, 90)
	b.pass(time.Second)
	for _, ticket := range tickets {
		ticket.Header(b.now)
		b.pass(10 * ms)
	}
	require.Equal(t, 50, b.status().Limit)
}

func TestRetryAfterIsTheP95(t *testing.T) {
	b := newBench(t, Config{Initial: 40})
	b.window(40, 300*ms)
	b.fill(0, b.status().Limit)
	_, refused := b.Acquire(b.now, Request{Client: 1 << 30})
	require.Equal(t, LimitReached, refused.Reason)
	require.InEpsilon(t, 300*ms, refused.RetryAfter, 0.06)
}

func TestReconfigureKeepsWhatWasLearned(t *testing.T) {
	b := newBench(t, Config{Initial: 100})
	b.window(40, 2*time.Second)
	require.Equal(t, 50, b.status().Limit)
	require.NoError(t, b.Reconfigure(b.now, Config{Initial: 200, Target: 300 * ms}))
	require.Equal(t, 50, b.status().Limit)
	require.Equal(t, 300*ms, b.status().Target)
	require.NoError(t, b.Reconfigure(b.now, Config{Max: 30}))
	require.Equal(t, 30, b.status().Limit)
	require.NoError(t, b.Reconfigure(b.now, Config{Min: 60}))
	require.Equal(t, 60, b.status().Limit)
	require.Error(t, b.Reconfigure(b.now, Config{Min: 2, Max: 1}))
	require.Equal(t, 60, b.status().Limit)
}

func TestTimeGoingBackwardsCountsAsThePresent(t *testing.T) {
	b := newBench(t, Config{})
	ticket := b.get(Request{})
	b.pass(time.Second)
	b.status()
	ticket.Header(b.now.Add(-time.Hour))
	ticket.Release(b.now.Add(-time.Hour))
	require.Zero(t, b.status().InFlight)
}

func TestStates(t *testing.T) {
	var changes []State
	b := newBench(t, Config{Initial: 20, OnChange: func(c Change) { changes = append(changes, c.To) }})
	b.window(20, 2*time.Second)
	require.Equal(t, StateReducing, b.status().State)
	b.pass(5 * time.Second)
	require.Equal(t, StateRecovering, b.status().State)
	tickets := b.fill(0, b.status().Limit)
	b.reason(Request{Client: 1 << 30})
	require.Equal(t, StateShedding, b.status().State)
	b.release(tickets)
	b.pass(5 * time.Second)
	require.Equal(t, StateRecovering, b.status().State)
	b.pass(10 * time.Second)
	require.Equal(t, StateNormal, b.status().State)
	require.Equal(t, []State{StateReducing, StateRecovering, StateShedding, StateRecovering, StateNormal}, changes)
}

func TestOnChangeMayUseTheLimiter(t *testing.T) {
	var b *bench
	var inside Status
	b = newBench(t, Config{Initial: 4, OnChange: func(c Change) { inside = b.Status(c.At) }})
	b.fill(0, 4)
	b.reason(Request{Client: 99})
	require.Equal(t, StateShedding, inside.State)
	require.Equal(t, 4, inside.InFlight)
}

func TestActiveClientsAreForgotten(t *testing.T) {
	b := newBench(t, Config{Initial: 1000})
	b.release(b.fill(0, 300))
	require.InDelta(t, 300, b.status().ActiveClients, 6)
	b.pass(10 * time.Second)
	require.Zero(t, b.status().ActiveClients)
}
