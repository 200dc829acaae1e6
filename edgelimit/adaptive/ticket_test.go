package adaptive

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheSampleIsFromBodyToHeader(t *testing.T) {
	b := newBench(t, Config{})
	for range 20 {
		ticket := b.get(Request{Body: true})
		b.pass(400 * ms)
		ticket.BodyRead(b.now)
		b.pass(100 * ms)
		ticket.Header(b.now)
		ticket.Header(b.now.Add(time.Hour))
		ticket.BodyRead(b.now)
		b.pass(3 * time.Second)
		ticket.Release(b.now)
	}
	require.InEpsilon(t, 100*ms, b.status().Latency.P99, 0.06)
}

func TestATimeoutIsAnOverloadSample(t *testing.T) {
	for _, c := range []struct{ after, sample time.Duration }{
		{10 * ms, time.Second},
		{3 * time.Second, 3 * time.Second},
	} {
		b := newBench(t, Config{Target: 500 * ms})
		for range 25 {
			ticket := b.get(Request{})
			b.pass(c.after)
			ticket.Timeout(b.now)
			ticket.Header(b.now)
			ticket.Release(b.now)
		}
		require.InEpsilon(t, c.sample, b.status().Latency.P50, 0.06)
		require.Less(t, b.status().Limit, 100)
	}
}

// TestADeadOriginNeitherMovesNorEatsTheLimit: one that refuses connections says
// nothing, and one that hangs for some and refuses the rest is not a fast one.
func TestADeadOriginNeitherMovesNorEatsTheLimit(t *testing.T) {
	b := newBench(t, Config{})
	for i := range 10000 {
		ticket := b.get(Request{Client: uint64(i % 100)})
		b.pass(ms)
		ticket.NoSample()
		ticket.Header(b.now) // the proxy's own 502
		ticket.Release(b.now)
	}
	require.Equal(t, 100, b.status().Limit)
	require.Zero(t, b.status().InFlight)
	require.Zero(t, b.status().Latency)

	var hanging []Ticket
	for range 100 {
		hanging = append(hanging, b.get(Request{Client: 1}))
		b.pass(ms)
		if len(hanging) == 20 {
			for _, ticket := range hanging {
				b.pass(100 * ms)
				ticket.Timeout(b.now)
				ticket.Release(b.now)
			}
			hanging = nil
		}
		ticket := b.get(Request{Client: 2})
		ticket.NoSample()
		ticket.Header(b.now)
		ticket.Release(b.now)
	}
	require.Less(t, b.status().Limit, 60)
	require.Zero(t, b.status().InFlight)
}

func TestASlowUploadNeitherMovesNorEatsTheLimit(t *testing.T) {
	b := newBench(t, Config{Initial: 100})
	var uploads []Ticket
	for i := range 90 {
		uploads = append(uploads, b.get(Request{Client: uint64(i), Body: true}))
	}
	require.Equal(t, 90, b.status().InFlight)
	b.pass(500 * ms)
	require.Equal(t, 0, b.status().InFlight)
	require.Equal(t, 90, b.status().Uploads)
	b.release(b.fill(1000, 100))

	b.pass(time.Hour)
	for _, ticket := range uploads[:45] {
		ticket.Header(b.now) // an answer before the end of the body
	}
	require.Zero(t, b.status().Latency, "an unfinished upload gives no sample")
	for _, ticket := range uploads[:45] {
		ticket.Timeout(b.now)
	}
	require.Equal(t, 100, b.status().Limit)

	b.fill(2000, 80)
	for _, ticket := range uploads[45:] {
		ticket.BodyRead(b.now)
	}
	require.Equal(t, 125, b.status().InFlight, "what was admitted comes back, even above the limit")
	require.Equal(t, 45, b.status().Uploads)
	b.release(uploads)
	require.Equal(t, 80, b.status().InFlight)
	require.Equal(t, 0, b.status().Uploads)
}

func TestUploadsAreCapped(t *testing.T) {
	b := newBench(t, Config{Initial: 400, Uploads: 40})
	upload := func(client uint64) (Ticket, Reason) {
		ticket, refused := b.Acquire(b.now, Request{Client: client, Body: true})
		b.pass(500 * ms)
		b.status()
		return ticket, refused.Reason
	}
	for i := range 5 {
		upload(uint64(100 + i))
	}
	greedy := 0
	for ; greedy < 100; greedy++ {
		b.release(b.fill(100, 5)) // the others stay active
		if _, reason := upload(1); reason != Admitted {
			require.Equal(t, UploadsFull, reason)
			break
		}
	}
	require.Less(t, greedy, 35, "one client does not get all places")
	for i := 0; b.status().Uploads < 40; i++ {
		_, reason := upload(uint64(200 + i))
		require.Equal(t, Admitted, reason)
	}
	_, reason := upload(300)
	require.Equal(t, UploadsFull, reason)
	require.Equal(t, Admitted, b.reason(Request{Client: 300}), "a request without a body is not concerned")
}

func TestUploadsAreCappedByTheLimitByDefault(t *testing.T) {
	for _, c := range []struct{ limit, uploads int }{{50, 100}, {150, 150}} {
		b := newBench(t, Config{Initial: c.limit})
		admitted := 0
		for i := range 1000 {
			if _, refused := b.Acquire(b.now, Request{Client: uint64(i), Body: true}); refused.Refused() {
				require.Equal(t, UploadsFull, refused.Reason)
				break
			}
			admitted++
			b.pass(500 * ms)
		}
		require.Equal(t, c.uploads, admitted)
	}
}

func TestAWebSocketNeitherMovesNorEatsTheLimit(t *testing.T) {
	b := newBench(t, Config{Initial: 20})
	var sockets []Ticket
	for i := range 100 {
		ticket := b.get(Request{Client: uint64(i)})
		require.False(t, ticket.Stream(b.now).Refused())
		b.pass(ms)
		ticket.NoSample()
		ticket.Header(b.now) // 101
		ticket.Stream(b.now)
		sockets = append(sockets, ticket)
	}
	b.pass(time.Hour)
	require.Equal(t, 100, b.status().Streams)
	require.Equal(t, 0, b.status().InFlight)
	require.Equal(t, 20, b.status().Limit)
	require.Zero(t, b.status().Latency)
	b.release(sockets)
	b.release(sockets)
	require.Zero(t, b.status().Streams)
	require.Zero(t, b.status().InFlight)
}

func TestAnEventStreamNeitherMovesNorEatsTheLimit(t *testing.T) {
	b := newBench(t, Config{Initial: 20})
	var streams []Ticket
	for i := range 15 {
		ticket := b.get(Request{Client: uint64(i)})
		b.pass(10 * ms)
		ticket.Header(b.now)
		streams = append(streams, ticket)
	}
	require.Equal(t, 15, b.status().InFlight, "until it is known to be one")
	streams[0].Stream(b.now)
	require.Equal(t, 14, b.status().InFlight)
	b.pass(5 * time.Second)
	require.Equal(t, 0, b.status().InFlight, "a body of more than 5 s is one")
	require.Equal(t, 15, b.status().Streams)
	require.Equal(t, 20, b.status().Limit)
	b.fill(100, 20)
	b.release(streams)
	require.Equal(t, 20, b.status().InFlight)
}

func TestStreamsAreCappedWhileTheyCanBe(t *testing.T) {
	b := newBench(t, Config{Initial: 50, Streams: 2})
	first, second, third, fourth := b.get(Request{Client: 1}), b.get(Request{Client: 2}), b.get(Request{Client: 3}), b.get(Request{Client: 4})
	require.False(t, first.Stream(b.now).Refused())
	require.False(t, second.Stream(b.now).Refused())
	require.Equal(t, StreamsFull, third.Stream(b.now).Reason)
	require.Equal(t, 2, b.status().InFlight, "a refused stream keeps its slot until it is released")
	third.Release(b.now)
	fourth.Header(b.now)
	require.False(t, fourth.Stream(b.now).Refused(), "after the header it is too late to refuse")
	require.Equal(t, 3, b.status().Streams)
	require.Equal(t, 0, b.status().InFlight)
	require.Equal(t, uint64(1), b.status().Refused[StreamsFull])
}

func TestRoomAmongTheStreams(t *testing.T) {
	b := newBench(t, Config{Streams: 2})
	require.False(t, b.StreamRoom(b.now, 1).Refused())
	for i := range uint64(2) {
		require.False(t, b.get(Request{Client: i}).Stream(b.now).Refused())
	}
	require.Equal(t, Refusal{StreamsFull, 500 * ms}, b.StreamRoom(b.now, 1))
	require.Equal(t, uint64(1), b.status().Refused[StreamsFull])
	require.Equal(t, StateShedding, b.status().State)
	require.Zero(t, b.status().InFlight, "it takes no slot")
}

// TestABidirectionalStream: a request whose body goes on while it is answered.
func TestABidirectionalStream(t *testing.T) {
	b := newBench(t, Config{})
	early, late := b.get(Request{Body: true}), b.get(Request{Body: true})
	early.Header(b.now)
	b.pass(time.Second)
	require.Equal(t, 1, b.status().Uploads)
	require.Equal(t, 1, b.status().InFlight)
	late.Header(b.now)
	b.pass(5 * time.Second)
	require.Equal(t, 2, b.status().Streams)
	early.BodyRead(b.now)
	late.BodyRead(b.now)
	require.Equal(t, 2, b.status().Streams)
	require.Zero(t, b.status().InFlight)
	early.Release(b.now)
	late.Release(b.now)
	require.Zero(t, b.status().Streams)
	require.Zero(t, b.status().Latency)
}

func TestAStaleTicketDoesNothing(t *testing.T) {
	b := newBench(t, Config{})
	old := b.get(Request{Client: 1})
	old.Release(b.now)
	current := b.get(Request{Client: 2})
	require.Same(t, old.record, current.record, "the record is used again")
	old.Release(b.now)
	old.NoSample()
	old.Header(b.now)
	old.Timeout(b.now)
	old.Abandoned(b.now)
	old.BodyRead(b.now)
	require.False(t, old.Stream(b.now).Refused())
	require.Equal(t, 1, b.status().InFlight)
	require.False(t, current.record.sampled)
	current.Release(b.now)
	require.Zero(t, b.status().InFlight)

	var none Ticket
	none.Header(b.now)
	none.NoSample()
	none.Release(b.now)
}

// TestAnAbandonedRequestLingers for as long as it may take the origin: the P99 of
// the last window, at least the target, at most 5 s. Its client is charged for it.
func TestAnAbandonedRequestLingers(t *testing.T) {
	for _, c := range []struct{ latency, least, most time.Duration }{
		{0, 500 * ms, 500 * ms},
		{200 * ms, 500 * ms, 500 * ms},
		{2 * time.Second, 1880 * ms, 2120 * ms},
		{20 * time.Second, 5 * time.Second, 5 * time.Second},
	} {
		b := newBench(t, Config{})
		if c.latency > 0 {
			b.window(20, c.latency)
		}
		ticket := b.get(Request{Client: 1})
		b.pass(20 * ms)
		ticket.Abandoned(b.now)
		ticket.Release(b.now)
		ticket.Release(b.now)
		b.pass(c.least - 21*ms)
		require.Equal(t, 1, b.status().InFlight)
		require.InEpsilon(t, 1-math.Exp2(-(c.least-ms).Seconds()/5), b.clients.find(1, b.Limiter.now).usage, 0.001)
		b.pass(c.most - c.least + ms)
		require.Equal(t, 0, b.status().InFlight)

		ticket = b.get(Request{Client: 1})
		b.pass(c.most)
		ticket.Abandoned(b.now)
		ticket.Release(b.now)
		require.Equal(t, 0, b.status().InFlight)
	}
}

func TestAbandonedRequestsAreSamplesWhenTheyWaited(t *testing.T) {
	for _, c := range []struct {
		name   string
		waited time.Duration
		limit  int
	}{
		{"at once", 50 * ms, 100},
		{"for longer than a quarter of the target", 300 * ms, 50},
		{"for longer than the target", 2 * time.Second, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, Config{Target: 500 * ms})
			tickets := b.fill(0, 30)
			b.pass(c.waited)
			for _, ticket := range tickets {
				ticket.Abandoned(b.now)
				ticket.Release(b.now)
			}
			require.Equal(t, c.limit, b.status().Limit)
			b.pass(500 * ms)
			require.Zero(t, b.status().InFlight)
		})
	}
}

// TestOneClientIsImpatientOnce in a window, however often it leaves: it must not
// lower the limit of everybody.
func TestOneClientIsImpatientOnce(t *testing.T) {
	for _, c := range []struct {
		clients uint64
		limit   int
	}{{1, 100}, {10, 100}, {11, 50}} {
		b := newBench(t, Config{Target: 500 * ms})
		leave := func(client uint64) {
			ticket := b.get(Request{Client: client})
			b.pass(130 * ms)
			ticket.Abandoned(b.now)
			ticket.Release(b.now)
		}
		for i := range uint64(60) {
			leave(i % c.clients)
		}
		require.Equal(t, 100, b.status().Limit, "too few for a window")
		b.answer(b.fill(1000, 10), 100*ms)
		require.Equal(t, c.limit, b.status().Limit, "%d clients", c.clients)
	}
}
