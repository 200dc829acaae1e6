package adaptive

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// TestStressEverySlotComesBack lets many goroutines do everything at once. Each
// ticket is served once, the limit holds, and in the end nothing is held.
func TestStressEverySlotComesBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	start := time.Now()
	const most = 16
	l, err := New(Config{Initial: most, Min: 4, Max: most, QueueSize: 8, QueueDeadline: time.Millisecond, Uploads: 10, Streams: 10}, start)
	require.NoError(t, err)
	var clock, inSlots, admitted atomic.Int64
	now := func() time.Time { return start.Add(time.Duration(clock.Add(int64(10 * time.Microsecond)))) }
	var done sync.WaitGroup
	for worker := range 32 {
		done.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(4) == 0 {
					cancel()
				}
				r := Request{Client: uint64(random.IntN(20)), Class: Class(random.IntN(int(classes))), Body: random.IntN(4) == 0}
				ticket, no := l.Wait(ctx, now(), r)
				cancel()
				if no.Refused() {
					continue
				}
				admitted.Add(1)
				if !r.Body {
					assert.LessOrEqual(t, inSlots.Add(1), int64(most*11/10))
				}
				steps := []func(){
					func() { ticket.BodyRead(now()) },
					func() { ticket.Header(now()) },
					func() { ticket.NoSample() },
					func() { ticket.Timeout(now()) },
					func() { ticket.Abandoned(now()) },
				}
				for range random.IntN(4) {
					runtime.Gosched() // so that others find the limit reached
					steps[random.IntN(len(steps))]()
				}
				if !r.Body {
					inSlots.Add(-1)
				}
				if random.IntN(4) == 0 {
					ticket.Stream(now())
				}
				ticket.Release(now())
				ticket.Release(now())
			}
		})
	}
	done.Wait()
	status := l.Status(now().Add(time.Hour))
	require.Zero(t, status.InFlight)
	require.Zero(t, status.Uploads)
	require.Zero(t, status.Streams)
	require.Zero(t, status.Queued)
	require.Positive(t, admitted.Load())
	require.GreaterOrEqual(t, status.Admitted, uint64(admitted.Load()), "those that left while they were granted a slot count as well")
	for i := range l.clients.entries {
		require.Zero(t, l.clients.entries[i].held)
	}
	require.Zero(t, l.clients.holders)
}

// TestAnyOrderOfCalls: whatever is called in whatever order, the counts are those
// of the tickets, and the limit is exceeded by returning uploads only.
func TestAnyOrderOfCalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e9, 0)
		l, err := New(Config{Initial: 8, Min: 2, Max: 20, Uploads: 5, Streams: 5}, now)
		require.NoError(t, err)
		var tickets []Ticket
		returned := 0
		for range rapid.IntRange(1, 200).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 700).Draw(t, "ms")) * time.Millisecond)
			before := l.Status(now)
			i := rapid.IntRange(0, 40).Draw(t, "ticket")
			if i >= len(tickets) {
				r := Request{
					Client: uint64(rapid.IntRange(0, 5).Draw(t, "client")),
					Class:  Class(rapid.IntRange(0, int(classes)-1).Draw(t, "class")),
					Body:   rapid.Bool().Draw(t, "body"),
				}
				ticket, refused := l.Acquire(now, r)
				require.Equal(t, refused.Refused(), ticket == Ticket{})
				if !refused.Refused() {
					require.LessOrEqual(t, before.InFlight+1, max(before.Limit*11/10, 1))
					tickets = append(tickets, ticket)
				} else {
					require.GreaterOrEqual(t, refused.RetryAfter, time.Millisecond)
				}
				continue
			}
			ticket := tickets[i]
			switch rapid.IntRange(0, 6).Draw(t, "call") {
			case 0:
				ticket.BodyRead(now)
			case 1:
				ticket.Header(now)
			case 2:
				ticket.Timeout(now)
			case 3:
				ticket.Abandoned(now)
			case 4:
				ticket.NoSample()
			case 5:
				ticket.Stream(now)
			case 6:
				ticket.Release(now)
			}
			after := l.Status(now)
			if after.InFlight > before.InFlight {
				returned++
				require.Equal(t, before.Uploads-1, after.Uploads)
			}
			held, slots, parked := after.InFlight+after.Uploads+after.Streams, int32(0), int32(0)
			for e := range l.clients.entries {
				client := &l.clients.entries[e]
				slots += client.held[holdsSlot]
				parked += client.held[holdsUpload] + client.held[holdsStream]
			}
			require.LessOrEqual(t, held, len(tickets))
			require.Equal(t, int32(after.InFlight), slots)
			require.Equal(t, int32(after.Uploads+after.Streams), parked)
		}
		for _, ticket := range tickets {
			ticket.Release(now)
		}
		status := l.Status(now.Add(time.Hour))
		require.Zero(t, status.InFlight+status.Uploads+status.Streams)
		require.Nil(t, l.uploading.first)
		require.Nil(t, l.responding.first)
		require.Nil(t, l.lingering.first)
	})
}
