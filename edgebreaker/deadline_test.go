package edgebreaker

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// waitingFor returns a record whose attempt waits for a header, with an alarm, and the
// context of its proxy.
func waitingFor(t *testing.T, a *alarm, headerTimeout time.Duration) (*record, context.Context) {
	t.Helper()
	rec := &record{handler: &Handler{HeaderTimeout: caddy.Duration(headerTimeout)}, base: t.Context()}
	b := breaker.New("x", nil)
	attempt, _, _ := b.Enter(time.Now(), &breaker.Config{Failures: 1})
	ctx := rec.limited(httptest.NewRequest(http.MethodGet, "/", nil).WithContext(t.Context()), false)
	rec.deadline.alarm = a
	a.rec.Store(rec)
	rec.begin(time.Now(), attempt, try{backend: b, counters: countersOf("x")}, "x")
	return rec, ctx
}

// TestLateRing: alarms are used again. One that rings too late for the request which set
// it, and so for the next one, neither ends that nor takes its own deadline away.
func TestLateRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Not those of other tests: a timer belongs to its bubble.
		a := new(alarm)
		first, firstCtx := waitingFor(t, a, 2*time.Second)
		first.deadline.alarm = nil
		a.timer.Stop()
		first.settle(time.Now(), nil, false)
		require.ErrorIs(t, firstCtx.Err(), context.Canceled, "it ends with the request")

		time.Sleep(time.Second)
		rec, ctx := waitingFor(t, a, 4*time.Second)
		a.timer.Reset(0) // as one that the first request had set
		synctest.Wait()
		require.NoError(t, ctx.Err())
		time.Sleep(4*time.Second - time.Nanosecond)
		synctest.Wait()
		require.NoError(t, ctx.Err())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, errHeaderTimeout, context.Cause(ctx))
		require.Equal(t, breaker.Open, rec.attempt.Backend().State())

		first.ring() // nor does it come back to the one that is over
		require.Equal(t, closed, first.phase)
		a.timer.Stop()
		rec.deadline.alarm = nil
		rec.settle(time.Now(), nil, false)
	})
}

// TestHeldBackends: a policy asks the backends that it holds without a look-up, and only
// as long as it holds them.
func TestHeldBackends(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(site("failures 1", a.address, ""))
	held := membersAt(a.address)
	require.Len(t, held, 1)
	require.Same(t, backend(t, a.address), held[0].backend.Load())
	require.Equal(t, 200, g.get("/").status)
	force(t, breaker.ForceOpen, a.address)
	require.Equal(t, 503, g.get("/").status)
	force(t, breaker.Auto, a.address)

	g.load(site("failures 1", b.address, ""))
	eventually(t, func() bool { return held[0].backend.Load() == nil })
}
