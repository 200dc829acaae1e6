package rfc9111

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// kept makes what is stored of a response with these Cache-Control directives.
func kept(t require.TestingT, cacheControl string) Freshness {
	decision := (&Options{}).Storable(get(), answer(200, "Cache-Control: "+cacheControl, `ETag: "a"`))
	require.True(t, decision.Store, cacheControl)
	return decision.Freshness
}

func TestReuse(t *testing.T) {
	tests := []struct {
		name    string
		o       Options
		stored  string
		request string
		age     time.Duration
		action  Action
		reason  Reason
		forced  bool
	}{
		{name: "fresh", stored: "max-age=10", age: 9 * time.Second, action: Serve, reason: ReasonFresh},
		{name: "exactly at its end", stored: "max-age=10", age: 10 * time.Second, reason: ReasonStale},
		{name: "stale", stored: "max-age=10", age: 11 * time.Second, reason: ReasonStale},
		{name: "no-cache", stored: "max-age=10, no-cache", reason: ReasonNoCache},
		{name: "validator only", stored: "public", reason: ReasonValidatorOnly},
		{name: "qualified no-cache", stored: `max-age=10, no-cache="a"`, action: Serve, reason: ReasonFresh},

		{name: "swr", stored: "max-age=1, stale-while-revalidate=4", age: 4 * time.Second, action: ServeStale, reason: ReasonStaleWhileRevalidate},
		{name: "after swr", stored: "max-age=1, stale-while-revalidate=4", age: 5 * time.Second, reason: ReasonStale},
		{name: "swr with must-revalidate", stored: "max-age=1, stale-while-revalidate=4, must-revalidate", age: 4 * time.Second, reason: ReasonStale},
		{name: "swr with s-maxage", stored: "s-maxage=1, stale-while-revalidate=4", age: 4 * time.Second, action: ServeStale, reason: ReasonStaleWhileRevalidate},
		{name: "swr with s-maxage and proxy-revalidate", stored: "s-maxage=1, proxy-revalidate, stale-while-revalidate=4", age: 4 * time.Second, reason: ReasonStale},
		{name: "swr of the operator", o: Options{StaleWhileRevalidate: time.Minute}, stored: "max-age=1", age: 4 * time.Second, action: ServeStale, reason: ReasonStaleWhileRevalidate},
		{name: "swr of the operator, s-maxage", o: Options{StaleWhileRevalidate: time.Minute}, stored: "s-maxage=1", age: 4 * time.Second, reason: ReasonStale},
		{name: "swr of the operator, origin says none", o: Options{StaleWhileRevalidate: time.Minute}, stored: "max-age=1, stale-while-revalidate=0", age: 4 * time.Second, reason: ReasonStale},
		{name: "swr of the operator, validator only", o: Options{StaleWhileRevalidate: time.Minute}, stored: "public", reason: ReasonValidatorOnly},

		{name: "request no-cache", stored: "max-age=10", request: "no-cache", reason: ReasonRequestNoCache, forced: true},
		{name: "request no-cache, honoured", o: Options{ClientControl: Honour}, stored: "max-age=10", request: "no-cache", reason: ReasonRequestNoCache},
		{name: "request no-cache, ignored", o: Options{ClientControl: Ignore}, stored: "max-age=10", request: "no-cache, only-if-cached", action: Serve, reason: ReasonFresh},
		{name: "request no-cache, stale", stored: "max-age=10", request: "no-cache", age: time.Minute, reason: ReasonStale},
		{name: "request no-store", stored: "max-age=10", request: "no-store", action: Serve, reason: ReasonFresh},
		{name: "request max-age=0", stored: "max-age=10", request: "max-age=0", reason: ReasonRequestMaxAge, forced: true},
		{name: "request max-age", stored: "max-age=3600", request: "max-age=600", age: 601 * time.Second, reason: ReasonRequestMaxAge, forced: true},
		{name: "request max-age reached", stored: "max-age=3600", request: "max-age=600", age: 600 * time.Second, action: Serve, reason: ReasonFresh},
		{name: "request max-age unparsable", stored: "max-age=3600", request: "max-age=x", action: Serve, reason: ReasonFresh},
		{name: "request max-age wants nothing stale", stored: "max-age=1, stale-while-revalidate=10", request: "max-age=100", age: 2 * time.Second, reason: ReasonRequestMaxAge, forced: true},
		{name: "request max-age, max-stale", stored: "max-age=1, stale-while-revalidate=10", request: "max-age=100, max-stale=5", age: 2 * time.Second, action: ServeStale, reason: ReasonStaleWhileRevalidate},
		{name: "request max-stale shorter than swr", stored: "max-age=1, stale-while-revalidate=10", request: "max-stale=2", age: 5 * time.Second, reason: ReasonRequestMaxStale, forced: true},
		{name: "request min-fresh", stored: "max-age=1500", request: "min-fresh=1000", age: 1000 * time.Second, reason: ReasonRequestMinFresh, forced: true},
		{name: "request min-fresh reached", stored: "max-age=1500", request: "min-fresh=500", age: 1000 * time.Second, action: Serve, reason: ReasonFresh},
		{name: "reload of immutable", stored: "max-age=10, immutable", request: "max-age=0", action: Serve, reason: ReasonFresh},
		{name: "hard reload of immutable", stored: "max-age=10, immutable", request: "no-cache", reason: ReasonRequestNoCache, forced: true},
		{name: "reload of stale immutable", stored: "max-age=10, immutable", request: "max-age=0", age: time.Minute, reason: ReasonStale},

		{name: "max-stale", stored: "max-age=10", request: "max-stale=5", age: 15 * time.Second, action: Serve, reason: ReasonMaxStale},
		{name: "max-stale exceeded", stored: "max-age=10", request: "max-stale=5", age: 16 * time.Second, reason: ReasonStale},
		{name: "max-stale without limit", stored: "max-age=10", request: "max-stale", age: 1000 * time.Hour, action: Serve, reason: ReasonMaxStale},
		{name: "max-stale, ignored", o: Options{ClientControl: Ignore}, stored: "max-age=10", request: "max-stale", age: time.Minute, reason: ReasonStale},
		{name: "max-stale, must-revalidate", stored: "max-age=10, must-revalidate", request: "max-stale", age: time.Minute, reason: ReasonStale},
		{name: "max-stale, s-maxage", stored: "s-maxage=10, stale-while-revalidate=1", request: "max-stale", age: time.Minute, reason: ReasonStale},
		{name: "max-stale, no-cache response", stored: "max-age=10, no-cache", request: "max-stale", reason: ReasonNoCache},
		{name: "max-stale, no-cache request", stored: "max-age=10", request: "max-stale, no-cache", age: time.Minute, reason: ReasonStale},
		{name: "max-stale, max-age request", stored: "max-age=10", request: "max-stale, max-age=30", age: time.Minute, reason: ReasonStale},

		{name: "only-if-cached", stored: "max-age=10", request: "only-if-cached", action: Serve, reason: ReasonFresh},
		{name: "only-if-cached, stale", stored: "max-age=10", request: "only-if-cached", age: time.Minute, reason: ReasonOnlyIfCached},
		{name: "only-if-cached, no-cache", stored: "max-age=10", request: "only-if-cached, no-cache", reason: ReasonOnlyIfCached, forced: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := kept(t, tt.stored)
			req := get()
			if tt.request != "" {
				req = get("Cache-Control: " + tt.request)
			}
			got := tt.o.Reuse(req, &f, now.Add(tt.age))
			require.Equal(t, tt.reason.String(), got.Reason.String())
			require.Equal(t, tt.action, got.Action, got.Action.String())
			require.Equal(t, tt.forced, got.Forced)
			if tt.forced {
				require.NotEqual(t, Revalidate, got.Unforced)
			}
		})
	}
}

func TestStaleOnError(t *testing.T) {
	tests := []struct {
		name    string
		o       Options
		stored  string
		request string
		status  int
		want    bool
	}{
		{name: "no word", stored: "max-age=1"},
		{name: "stale-if-error", stored: "max-age=1, stale-if-error=60", want: true},
		{name: "stale-if-error, 503", stored: "max-age=1, stale-if-error=60", status: 503, want: true},
		{name: "stale-if-error, 500", stored: "max-age=1, stale-if-error=60", status: 500, want: true},
		{name: "stale-if-error, 502", stored: "max-age=1, stale-if-error=60", status: 502, want: true},
		{name: "stale-if-error, 504", stored: "max-age=1, stale-if-error=60", status: 504, want: true},
		{name: "stale-if-error, 501", stored: "max-age=1, stale-if-error=60", status: 501},
		{name: "stale-if-error, 404", stored: "max-age=1, stale-if-error=60", status: 404},
		{name: "after the window", stored: "max-age=1, stale-if-error=10"},
		{name: "must-revalidate", stored: "max-age=1, stale-if-error=60, must-revalidate"},
		{name: "proxy-revalidate", stored: "max-age=1, stale-if-error=60, proxy-revalidate"},
		{name: "s-maxage", o: Options{StaleIfError: time.Minute}, stored: "s-maxage=1"},
		{name: "s-maxage with stale-if-error", stored: "s-maxage=1, stale-if-error=60", want: true},
		{name: "no-cache", stored: "no-cache, stale-if-error=60"},
		{name: "validator only", o: Options{StaleIfError: time.Minute}, stored: "public"},
		{name: "operator", o: Options{StaleIfError: time.Minute}, stored: "max-age=1", want: true},
		{name: "operator, must-revalidate", o: Options{StaleIfError: time.Minute}, stored: "max-age=1, must-revalidate"},
		{name: "operator, origin says none", o: Options{StaleIfError: time.Minute}, stored: "max-age=1, stale-if-error=0"},
		{name: "request", stored: "max-age=1", request: "stale-if-error=60", want: true},
		{name: "request, ignored", o: Options{ClientControl: Ignore}, stored: "max-age=1", request: "stale-if-error=60"},
		{name: "request, must-revalidate", stored: "max-age=1, must-revalidate", request: "stale-if-error=60"},
		{name: "fresh", stored: "max-age=60, must-revalidate", want: true},
		{name: "no-cache request", stored: "max-age=60", request: "no-cache", want: true},
		{name: "no-cache request, honoured", o: Options{ClientControl: Honour}, stored: "max-age=60", request: "no-cache"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := kept(t, tt.stored)
			req := get()
			if tt.request != "" {
				req = get("Cache-Control: " + tt.request)
			}
			require.Equal(t, tt.want, tt.o.StaleOnError(req, &f, tt.status, now.Add(20*time.Second)))
		})
	}
}

func TestStaleWindow(t *testing.T) {
	f := kept(t, "max-age=1, stale-while-revalidate=5, stale-if-error=9")
	require.Equal(t, 9*time.Second, (&Options{}).StaleWindow(&f))
	f = kept(t, "max-age=1, stale-if-error=9")
	require.Equal(t, time.Minute, (&Options{StaleWhileRevalidate: time.Minute}).StaleWindow(&f))
	f = kept(t, "no-cache")
	require.Zero(t, (&Options{StaleWhileRevalidate: time.Minute}).StaleWindow(&f))
}

func TestAge(t *testing.T) {
	f := Freshness{ResponseTime: now.UnixMilli(), InitialAge: 2000, Lifetime: 10_000}
	require.Equal(t, 5*time.Second, f.Age(now.Add(3*time.Second)))
	require.Equal(t, 5*time.Second, f.FreshFor(now.Add(3*time.Second)))
	require.Equal(t, -2*time.Second, f.FreshFor(now.Add(10*time.Second)))
	require.Equal(t, 2*time.Second, f.Age(now.Add(-time.Hour)), "a clock that goes back makes nothing younger")
	require.Positive(t, f.Age(now.AddDate(1000, 0, 0)), "no overflow")
}

func TestActionString(t *testing.T) {
	require.Equal(t, []string{"revalidate", "serve", "serve-stale"}, []string{Revalidate.String(), Serve.String(), ServeStale.String()})
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for i, r := range Reasons() {
		require.Regexp(t, "^[a-z]+(-[a-z]+)*$", r.String())
		require.False(t, seen[r.String()], r.String())
		seen[r.String()] = true
		require.True(t, i == 0 || r > Reasons()[i-1])
	}
	require.Len(t, seen, 31)
	require.Equal(t, "unknown", Reason(15).String())
	require.Equal(t, "unknown", Reason(255).String())
}

func TestClientNeverMakesStaleServable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := kept(t, rapid.SampledFrom([]string{"max-age=10, must-revalidate", "s-maxage=10", "no-cache", "max-age=10, proxy-revalidate"}).Draw(t, "stored"))
		later := now.Add(time.Duration(rapid.Int64Range(10, 1<<31).Draw(t, "age")) * time.Second)
		request := rapid.SampledFrom([]string{"max-stale", "max-stale=99999999999", "max-age=99999999999", "min-fresh=0", "stale-if-error=9999"}).Draw(t, "request")
		o := randomOptions(t)
		o.ClientControl = rapid.SampledFrom([]ClientControl{Collapse, Honour, Ignore}).Draw(t, "control")
		require.Equal(t, Revalidate, o.Reuse(get("Cache-Control: "+request), &f, later).Action)
		require.False(t, o.StaleOnError(get("Cache-Control: "+request), &f, 0, later))
	})
}

func TestReuseDoesNotAllocate(t *testing.T) {
	o, f, req := &Options{}, kept(t, "max-age=10, stale-while-revalidate=5"), get("Cache-Control: max-age=5")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = o.Reuse(req, &f, now)
		_ = f.Age(now)
		_ = f.FreshFor(now)
		_ = o.StaleOnError(req, &f, 503, now)
	}))
}
