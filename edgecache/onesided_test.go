package edgecache

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// provokable is an origin that takes a second and chokes on X-Provoke, which
// holds the status it then answers with.
type provokable struct{ numbered }

func (o *provokable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := o.next()
	time.Sleep(time.Second)
	if code, err := strconv.Atoi(r.Header.Get("X-Provoke")); err == nil {
		w.WriteHeader(code)
		return
	}
	o.answer(w, n)
}

// requireCollapsed has five clients ask at once and checks that one fetch served
// them all.
func requireCollapsed(t *testing.T, g *rig, o *provokable, url string) {
	t.Helper()
	before := o.fetches.Load()
	bodies := make([]string, 5)
	var done sync.WaitGroup
	for i := range bodies {
		done.Go(func() { bodies[i] = g.get(url).Body.String() })
	}
	done.Wait()
	require.Equal(t, before+1, o.fetches.Load(), "one fetch for all")
	for _, body := range bodies {
		require.Equal(t, strconv.Itoa(int(before)+1), body)
	}
}

// TestOneClientHarmsNobodyElse: what a client's own fields cause says nothing
// about what others are served. It neither drops what is stored, nor makes the
// others fetch for themselves.
func TestOneClientHarmsNobodyElse(t *testing.T) {
	const url = "http://example.com/"
	attacks := map[string][]string{
		"no-cache, no-store":          {"Cache-Control: no-cache, no-store"},
		"credentials":                 {"Authorization: junk"},
		"credentials and no-cache":    {"Authorization: junk", "Cache-Control: no-cache"},
		"no-store with credentials":   {"Authorization: junk", "Cache-Control: no-cache, no-store"},
		"400":                         {"X-Provoke: 400"},
		"400 and no-cache":            {"X-Provoke: 400", "Cache-Control: no-cache"},
		"400 with no-store":           {"X-Provoke: 400", "Cache-Control: no-cache, no-store"},
		"431 and no-cache":            {"X-Provoke: 431", "Cache-Control: no-cache"},
		"500 and no-cache":            {"X-Provoke: 500", "Cache-Control: no-cache"},
		"404 for this client":         {"X-Provoke: 404", "Authorization: junk", "Cache-Control: no-cache"},
		"431 without a cached answer": {"X-Provoke: 431", "Cache-Control: max-age=0"},
	}
	ages := map[string]time.Duration{"fresh": time.Second, "stale-while-revalidate": 2 * time.Minute}
	for name, fields := range attacks {
		for state, age := range ages {
			t.Run(name+", "+state, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := &provokable{numbered{fields: []string{"Cache-Control: max-age=60, stale-while-revalidate=600"}}}
					g, cleanup := newRig(t, `{}`, o.ServeHTTP)
					defer cleanup()
					require.Equal(t, "1", g.get(url).Body.String())
					time.Sleep(age)
					g.get(url, fields...)
					time.Sleep(1500 * time.Millisecond) // for a refresh in the background
					got := g.get(url, "Cache-Control: only-if-cached")
					require.Equal(t, http.StatusOK, got.Code, "still stored")
					time.Sleep(1500 * time.Millisecond)
					g.shared.purge(purge.Purge{Kind: purge.All})
					requireCollapsed(t, g, o, url)
				})
			})
		}
	}
}

// TestOneClientsRequestIsNoMark: before anything is stored, too, a response that
// is not stored only because of who asked does not end collapsing.
func TestOneClientsRequestIsNoMark(t *testing.T) {
	const url = "http://example.com/"
	for name, fields := range map[string][]string{
		"no-store":    {"Cache-Control: no-store"},
		"credentials": {"Authorization: junk"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &provokable{numbered{fields: []string{"Cache-Control: max-age=60"}}}
				g, cleanup := newRig(t, `{}`, o.ServeHTTP)
				defer cleanup()
				g.get(url, fields...)
				requireCollapsed(t, g, o, url)
			})
		})
	}
}

// TestValidationOfOneClientIsNoMark: neither does a validation that is for one client
// alone.
func TestValidationOfOneClientIsNoMark(t *testing.T) {
	const url = "http://example.com/"
	for _, field := range []string{"Cache-Control: no-store", "Authorization: junk"} {
		t.Run(field, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
					n.Add(1)
					time.Sleep(time.Second)
					w.Header().Set("Etag", `"1"`)
					w.Header().Set("Cache-Control", "max-age=60")
					if r.Header.Get("If-None-Match") == `"1"` {
						w.WriteHeader(http.StatusNotModified)
						return
					}
					_, _ = w.Write([]byte("x"))
				})
				defer cleanup()
				g.get(url)
				time.Sleep(2 * time.Minute)
				g.get(url, field)
				n.Store(0)
				var done sync.WaitGroup
				for range 10 {
					done.Go(func() { g.get(url) })
				}
				done.Wait()
				require.EqualValues(t, 1, n.Load(), "validations for ten clients")
			})
		})
	}
}
