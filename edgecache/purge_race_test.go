package edgecache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// held is a numbered origin that can keep an answer back. It confirms what it is
// asked to validate, with 304.
type held struct {
	numbered
	hold chan struct{} // nil: answer at once
}

// holdNext keeps the next answer back until the returned function is called,
// which does nothing the second time.
func (o *held) holdNext() (release func()) {
	hold := make(chan struct{})
	o.hold = hold
	return sync.OnceFunc(func() { close(hold) })
}

func (o *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := o.next()
	hold := o.hold
	o.hold = nil
	if hold != nil {
		<-hold
	}
	if r.Header.Get("If-None-Match") != "" {
		o.addFields(w)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	o.answer(w, n)
}

// response returns the stored response; there must be one.
func (g *rig) response(t *testing.T) (found *object.Object) {
	t.Helper()
	for o := range g.shared.memory.Range {
		if o.Kind() == object.Response && g.shared.purges.Check(o) != purge.Gone {
			require.Nil(t, found, "one response")
			found = o
		}
	}
	require.NotNil(t, found)
	return found
}

// purgesOf returns purges of each kind that hit a response at
// http://example.com/page with the tag red.
func purgesOf(key string) []purge.Purge {
	return []purge.Purge{
		{Kind: purge.Tag, Value: "red"},
		{Kind: purge.Key, Value: key},
		{Kind: purge.URL, Value: "http://example.com/page"},
		{Kind: purge.Host, Value: "example.com"},
		{Kind: purge.Prefix, Value: "example.com/page"},
		{Kind: purge.Wildcard, Value: "example.com/p*"},
		{Kind: purge.All},
	}
}

// overRaces runs f for each kind of purge and for responses that vary and do not.
func overRaces(t *testing.T, f func(t *testing.T, fields []string, purge func(key string) purge.Purge)) {
	plain := []string{"Cache-Control: max-age=60", "Cache-Tag: red", `Etag: "1"`}
	for name, fields := range map[string][]string{"plain": plain, "varying": append(plain[:3:3], "Vary: X-Kind")} {
		for i, p := range purgesOf("") {
			t.Run(fmt.Sprintf("%s, %s", p.Kind, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f(t, fields, func(key string) purge.Purge { return purgesOf(key)[i] })
				})
			})
		}
	}
}

const racedURL = "http://example.com/page"

// TestPurgeDuringFetch: who comes after a purge is not shown what the origin was
// asked for before it, although nobody knew yet what the answer would be.
func TestPurgeDuringFetch(t *testing.T) {
	overRaces(t, func(t *testing.T, fields []string, of func(key string) purge.Purge) {
		o := &held{numbered: numbered{fields: fields}}
		g, cleanup := newRig(t, `{}`, o.ServeHTTP)
		defer cleanup()
		g.get(racedURL)
		key := g.response(t).Key()
		g.shared.purge(purge.Purge{Kind: purge.All})
		g.shared.sweep()

		release := o.holdNext()
		defer release()
		var before, joined, after got
		var done sync.WaitGroup
		done.Go(func() { before = g.get(racedURL) })
		synctest.Wait()
		done.Go(func() { joined = g.get(racedURL) })
		synctest.Wait()
		o.requireFetches(t, 2, "both wait for one")
		g.shared.purge(of(key))
		done.Go(func() { after = g.get(racedURL) })
		synctest.Wait()
		release()
		done.Wait()
		require.Equal(t, "2", before.Body.String())
		require.Contains(t, []string{"2", "3"}, joined.Body.String())
		require.Equal(t, "3", after.Body.String())
		require.Equal(t, "3", g.get(racedURL).Body.String())
		o.requireFetches(t, 3, "what was fetched after the purge is stored")
	})
}

// TestPurgeDuringValidation is the same for the answer of a validation.
func TestPurgeDuringValidation(t *testing.T) {
	overRaces(t, func(t *testing.T, fields []string, of func(key string) purge.Purge) {
		o := &held{numbered: numbered{fields: fields}}
		g, cleanup := newRig(t, `{}`, o.ServeHTTP)
		defer cleanup()
		g.get(racedURL)
		key := g.response(t).Key()
		time.Sleep(2 * time.Minute)

		release := o.holdNext()
		defer release()
		var after got
		var done sync.WaitGroup
		done.Go(func() { g.get(racedURL) })
		synctest.Wait()
		g.shared.purge(of(key))
		done.Go(func() { after = g.get(racedURL) })
		synctest.Wait()
		release()
		done.Wait()
		require.Equal(t, "3", after.Body.String())
		require.Equal(t, "3", g.get(racedURL).Body.String())
		o.requireFetches(t, 3, "what was fetched after the purge is stored")
	})
}

// TestPurgeBeforeConfirmation: a 304 that comes after a purge does not bring the
// purged response back, for GET nor for HEAD.
func TestPurgeBeforeConfirmation(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		overRaces(t, func(t *testing.T, fields []string, of func(key string) purge.Purge) {
			o := &held{numbered: numbered{fields: fields}}
			g, cleanup := newRig(t, `{}`, o.ServeHTTP)
			defer cleanup()
			g.get(racedURL)
			key := g.response(t).Key()
			time.Sleep(2 * time.Minute)

			release := o.holdNext()
			defer release()
			var done sync.WaitGroup
			done.Go(func() { g.send(method, racedURL) })
			synctest.Wait()
			g.shared.purge(of(key))
			release()
			done.Wait()
			require.Equal(t, "3", g.get(racedURL).Body.String())
			require.Equal(t, "3", g.get(racedURL).Body.String())
		})
	}
}

// TestPurgeBetweenLookUpAndFetch: the request has found a response that a purge
// then takes away; what the origin confirms of it is not stored again.
func TestPurgeBetweenLookUpAndFetch(t *testing.T) {
	overRaces(t, func(t *testing.T, fields []string, of func(key string) purge.Purge) {
		o := &held{numbered: numbered{fields: fields}}
		g, cleanup := newRig(t, `{}`, o.ServeHTTP)
		defer cleanup()
		g.get(racedURL)
		time.Sleep(2 * time.Minute)
		stored := g.response(t)

		w := httptest.NewRecorder()
		r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, racedURL, nil), caddy.NewReplacer(), w, new(caddyhttp.Server))
		target := g.keyer.targetOf(r)
		primary, ok := g.keyer.append(nil, &target, r)
		require.True(t, ok)
		f := g.find(primary, r.Header)
		require.Same(t, stored, f.object)
		x := &exchange{
			h: g.Handler, w: w, r: r, next: g.origin, policy: g.policy, req: parseRequest(r), target: target,
			primary: string(primary), key: string(f.key), names: f.names, stored: f.object,
		}
		g.shared.purge(of(stored.Key()))
		require.NoError(t, g.fetch(x))
		synctest.Wait()

		require.NotEqual(t, "1", g.get(racedURL).Body.String(), "the purged response is not back")
	})
}

// TestOperatorPurgeOfALargeStore: the time of a purge does not depend on the
// number of responses, so those of a large store are not looked at.
func TestOperatorPurgeOfALargeStore(t *testing.T) {
	fill := func(n int) *shared {
		s, err := newShared()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Destruct()) })
		for i := range n {
			url := fmt.Sprintf("http://example.com/%d", i)
			require.True(t, s.memory.Put(object.New(&object.Spec{Key: url, URL: url, Status: 200, Tags: []string{"red"}}, nil)))
		}
		require.Equal(t, n, s.memory.Stats().Entries)
		return s
	}
	looked := func(s *shared) (n int) {
		for o := range s.memory.Range {
			if o.CheckedSeq() != o.Seq() {
				n++
			}
		}
		return n
	}
	for _, n := range []int{1001, 15_000} {
		s := fill(n)
		require.Equal(t, -1, s.purgeAndCount([]purge.Purge{{Kind: purge.Tag, Value: "blue"}}), "%d", n)
		require.Zero(t, looked(s), "%d", n)
		require.Equal(t, -1, s.purgeAndCount([]purge.Purge{{Kind: purge.Tag, Value: "red"}}), "%d", n)
		require.Equal(t, n, s.memory.Stats().Entries, "the lurker frees them, not the purge")
		require.Nil(t, s.lookup("http://example.com/7"), "%d", n)
	}
	s := fill(1000)
	require.Equal(t, 0, s.purgeAndCount([]purge.Purge{{Kind: purge.Tag, Value: "blue"}}))
	require.Equal(t, 1000, s.purgeAndCount([]purge.Purge{{Kind: purge.Tag, Value: "red"}}))
}
