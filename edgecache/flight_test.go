package edgecache

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/tier/memory"
)

// launch puts a flight without a fetch into a table. Its context tells why it
// was cancelled.
func launch(table *flights, key string) (*flight, context.Context) {
	ctx, cancel := context.WithCancelCause(context.Background())
	f, _ := table.joinOrStart(key, func(*flight) bool { return false }, func() *flight {
		f := &flight{
			spool: newSpool(memory.NewLedger(1<<20), time.Minute), table: table, cancel: cancel,
			finished: make(chan struct{}), started: time.Now(), timeout: time.Minute,
		}
		f.deadline = time.AfterFunc(time.Minute, f.expire)
		return f
	})
	return f, ctx
}

func land(table *flights, f *flight, key string) {
	f.finish(nil, nil)
	table.ended(f, key)
}

func enter(t *testing.T, f *flight) *spoolReader {
	t.Helper()
	r, ok := f.enter(DefaultMaxWaiters, time.Now())
	require.True(t, ok)
	return r
}

func TestFlightEndsWithItsLastReaderWhenAttached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		f, ctx := launch(table, "k")
		a, b := enter(t, f), enter(t, f)
		f.attach()
		_, ok := f.enter(DefaultMaxWaiters, time.Now())
		require.False(t, ok, "nobody joins a fetch that may be cancelled")
		f.exit(a)
		require.NoError(t, ctx.Err())
		f.exit(b)
		require.ErrorIs(t, context.Cause(ctx), errClientGone)
		land(table, f, "k")
	})
}

func TestFlightAttachWithoutReadersEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		f, ctx := launch(table, "k")
		f.exit(enter(t, f))
		require.NoError(t, ctx.Err())
		f.attach()
		require.ErrorIs(t, context.Cause(ctx), errClientGone)
		land(table, f, "k")
		require.Zero(t, table.orphans.Load())
	})
}

// TestFlightGoesOnToItsDeadline: the fetch of a response that will be stored
// outlives its clients, but not its deadline.
func TestFlightGoesOnToItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		f, ctx := launch(table, "k")
		f.publish(&answer{code: http.StatusOK})
		f.exit(enter(t, f))
		require.Equal(t, int64(1), table.orphans.Load())

		second := enter(t, f)
		require.Zero(t, table.orphans.Load(), "it has a reader again")
		time.Sleep(50 * time.Second)
		f.exit(second)
		require.Equal(t, int64(1), table.orphans.Load())
		require.NoError(t, ctx.Err())
		time.Sleep(10*time.Second + time.Millisecond)
		require.ErrorIs(t, context.Cause(ctx), errFetchTimeout)
		land(table, f, "k")
		require.Zero(t, table.orphans.Load())
	})
}

func TestFlightPastItsDeadlineEndsWithItsLastReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		f, ctx := launch(table, "k")
		f.publish(&answer{code: http.StatusOK})
		r := enter(t, f)
		time.Sleep(2 * time.Minute)
		require.NoError(t, ctx.Err(), "a response on its way to a client may take longer")
		f.exit(r)
		require.ErrorIs(t, context.Cause(ctx), errClientGone)
		land(table, f, "k")
	})
}

func TestFlightWithoutHeaderEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		f, ctx := launch(table, "k")
		r := enter(t, f)
		time.Sleep(time.Minute + time.Millisecond)
		require.ErrorIs(t, context.Cause(ctx), errFetchTimeout)
		f.exit(r)
		land(table, f, "k")
	})
}

// TestFlightOrphansAreBounded: clients that leave can't pile up fetches.
func TestFlightOrphansAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		var fs []*flight
		for range maxOrphans {
			f, ctx := launch(table, "")
			f.exit(enter(t, f))
			require.NoError(t, ctx.Err())
			fs = append(fs, f)
		}
		require.Equal(t, int64(maxOrphans), table.orphans.Load())
		extra, ctx := launch(table, "")
		extra.exit(enter(t, extra))
		require.ErrorIs(t, context.Cause(ctx), errClientGone)
		land(table, extra, "")
		land(table, fs[0], "")
		require.Equal(t, int64(maxOrphans-1), table.orphans.Load())

		another, ctx := launch(table, "")
		another.exit(enter(t, another))
		require.NoError(t, ctx.Err(), "there is room again")
		for _, f := range append(fs[1:], another) {
			land(table, f, "")
		}
		require.Zero(t, table.orphans.Load())
		require.Empty(t, table.running)
	})
}

func TestFlightWaitersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		f, _ := launch(table, "k")
		first, ok := f.enter(2, time.Now())
		require.True(t, ok)
		second, ok := f.enter(2, time.Now())
		require.True(t, ok)
		_, ok = f.enter(2, time.Now())
		require.False(t, ok)
		f.exit(second)
		third, ok := f.enter(2, time.Now())
		require.True(t, ok)
		land(table, f, "k")
		_, ok = f.enter(3, time.Now())
		require.False(t, ok, "it is done")
		f.exit(first)
		f.exit(third)
	})
}

func TestFlightAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		f, _ := launch(table, "k")
		defer land(table, f, "k")
		rec := httptest.NewRecorder()
		rec.Header().Set("Server", "front")

		timer := time.NewTimer(time.Second)
		_, err := f.await(t.Context(), rec, timer.C)
		require.ErrorIs(t, err, errWaitTimeout)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = f.await(ctx, rec, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		first, second := &answer{code: http.StatusOK}, &answer{code: http.StatusAccepted}
		time.AfterFunc(time.Second, func() {
			f.publish(first)
			f.publish(second)
		})
		a, err := f.await(t.Context(), rec, nil)
		require.NoError(t, err)
		require.Same(t, first, a, "an answer is given once")
		require.Equal(t, http.Header{"Server": {"front"}}, rec.Header())
	})
}

// interimRecorder notes the 1xx responses and their fields.
type interimRecorder struct {
	header http.Header
	codes  []int
	links  []string
}

func (r *interimRecorder) Header() http.Header         { return r.header }
func (r *interimRecorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *interimRecorder) WriteHeader(code int) {
	r.codes = append(r.codes, code)
	r.links = append(r.links, r.header.Get("Link"))
}

// TestFlightHandsInterimResponsesToEveryone: also to one that comes later, in
// order, and without a trace in the final header.
func TestFlightHandsInterimResponsesToEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		f, _ := launch(table, "k")
		defer land(table, f, "k")
		wait := func() *interimRecorder {
			r := &interimRecorder{header: http.Header{"Server": {"front"}}}
			_, err := f.await(t.Context(), r, nil)
			require.NoError(t, err)
			return r
		}
		early := make(chan *interimRecorder, 1)
		go func() { early <- wait() }()
		synctest.Wait()
		f.announce(http.StatusEarlyHints, http.Header{"Link": {"<a>"}})
		synctest.Wait()
		f.announce(http.StatusProcessing, http.Header{})
		f.announce(http.StatusEarlyHints, http.Header{"Link": {"<b>"}})
		late := make(chan *interimRecorder, 1)
		go func() { late <- wait() }()
		synctest.Wait()
		f.publish(&answer{code: http.StatusOK})
		for _, r := range []*interimRecorder{<-early, <-late} {
			require.Equal(t, []int{103, 102, 103}, r.codes)
			require.Equal(t, []string{"<a>", "", "<b>"}, r.links)
			require.Equal(t, http.Header{"Server": {"front"}}, r.header)
		}
	})
}

func TestFlightTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		usable := func(*flight) bool { return true }
		never := func() *flight { require.Fail(t, "a second flight for the key"); return nil }

		f, _ := launch(table, "resource")
		joined, leads := table.joinOrStart("resource", usable, never)
		require.Same(t, f, joined)
		require.False(t, leads)

		table.alias(f, "variant")
		table.closeJoin(f, "resource")
		joined, _ = table.joinOrStart("variant", usable, never)
		require.Same(t, f, joined)
		other, _ := launch(table, "resource")
		require.NotSame(t, f, other)

		table.alias(other, "variant")
		table.closeJoin(other, "resource")
		joined, _ = table.joinOrStart("variant", usable, never)
		require.Same(t, f, joined, "the first flight of a key keeps it")

		table.closeJoin(other, "variant")
		joined, _ = table.joinOrStart("variant", usable, never)
		require.Same(t, f, joined, "only the flight itself gives its key up")
		table.closeJoin(f, "variant")
		require.Empty(t, table.byKey)
		require.Len(t, table.running, 2)

		private, _ := launch(table, "")
		require.Empty(t, table.byKey, "a private flight is not found")
		for _, f := range []*flight{f, other, private} {
			land(table, f, "variant")
		}
		require.Empty(t, table.running)
	})
}

// TestFlightTableStop: a handler that is cleaned up ends what nobody reads, and
// lets clients finish.
func TestFlightTableStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newFlights()
		unread, unreadCtx := launch(table, "unread")
		read, readCtx := launch(table, "read")
		r := enter(t, read)
		table.stop()
		require.ErrorIs(t, context.Cause(unreadCtx), errClientGone)
		require.NoError(t, readCtx.Err())
		late, lateCtx := launch(table, "late")
		require.NotContains(t, table.byKey, "late")
		require.ErrorIs(t, context.Cause(lateCtx), errClientGone, "nobody reads it, and nobody will")
		read.exit(r)
		require.ErrorIs(t, context.Cause(readCtx), errClientGone)
		for _, f := range []*flight{unread, read, late} {
			land(table, f, "")
		}
	})
}

// TestPanicBeforeTheFetchEndsTheFlight: who joined it must not wait for a fetch
// that never runs.
func TestPanicBeforeTheFetchEndsTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int
		g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Cache-Control: max-age=60"))
		defer cleanup()
		var fe *fetch
		r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
		f, _ := g.flights.joinOrStart("key", nil, func() *flight {
			fe = g.newFetch(r, g.policy, target{host: "example.com", path: "/"}, "key", "key", nil, nil)
			return fe.flight
		})
		require.Panics(t, func() { fe.start(&http.Request{}, g.origin) })
		a, err := f.await(t.Context(), httptest.NewRecorder(), nil)
		require.NoError(t, err)
		require.ErrorIs(t, a.err, errUnprepared)
		require.Empty(t, g.flights.running)
		require.Equal(t, "edge; fwd=uri-miss; stored; ttl=60", g.get("http://example.com/").cacheStatus())
	})
}
