package edgecache

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// TestGuessedLifetimeOfASessionsPage: the origin says nothing about freshness, and
// the page was made for a session. The operator's ttl does not make it everybody's.
func TestGuessedLifetimeOfASessionsPage(t *testing.T) {
	tests := []struct {
		name, config string
		status       int
		fields       []string
		shared       bool
	}{
		{name: "ttl", config: `{"ttl": "1m"}`},
		{name: "ttl of a rule", config: `{"rules": [{"ttl": "1m"}]}`},
		{name: "heuristic", config: `{"heuristic": 0.1}`, fields: []string{"Last-Modified: Mon, 01 Jan 1990 00:00:00 GMT"}},
		{name: "negative ttl", config: `{"negative_ttl": {"404": "1m"}}`, status: 404},
		{name: "the origin's word", config: `{}`, fields: []string{"Cache-Control: max-age=60"}, shared: true},
		{name: "public", config: `{"ttl": "1m"}`, fields: []string{"Cache-Control: public"}, shared: true},
		{name: "override", config: `{"override": "1m"}`, shared: true},
		{name: "other cookies bypass", config: `{"ttl": "1m", "bypass_cookies": ["login"]}`, shared: true},
		{name: "other cookies bypass, rule", config: `{"rules": [{"ttl": "1m"}], "bypass_cookies": ["login"]}`, shared: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, status := 0, max(tt.status, http.StatusOK)
			g, cleanup := newRig(t, tt.config, answering(&n, status, "hello bob", tt.fields...))
			defer cleanup()
			got := g.get("http://example.com/account", "Cookie: session=bob")
			g.get("http://example.com/account")
			if tt.shared {
				require.Equal(t, 1, n)
				return
			}
			require.Equal(t, 2, n)
			require.Equal(t, "edge; fwd=uri-miss; detail=cookie", got.cacheStatus())
			require.Contains(t, g.get("http://example.com/account", "Cookie: session=bob").cacheStatus(), "edge; hit", "the anonymous page is for all")
		})
	}
}

// TestPrivateAnswerLeavesThePublicPage: a page that is public for the anonymous and
// somebody's own with a session. The answer to one client says nothing about the
// stored one, and does not end collapsing for others.
func TestPrivateAnswerLeavesThePublicPage(t *testing.T) {
	const url = "http://example.com/"
	answers := map[string][]string{
		"private":    {"Cache-Control: private, max-age=60"},
		"no-store":   {"Cache-Control: no-store"},
		"no-cache":   {"Cache-Control: no-cache"},
		"set-cookie": {"Cache-Control: max-age=60", "Set-Cookie: a=b"},
		"nothing":    {},
	}
	requests := map[string][]string{
		"forced by no-cache": {"Cache-Control: no-cache"}, "validation": {"X-Any: 1"}, "head": {"X-Any: 1"},
	}
	for answer, private := range answers {
		for request, fields := range requests {
			for _, credentials := range []string{"Cookie: session=1", "Authorization: Bearer 1"} {
				t.Run(answer+", "+request+", "+credentials, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						public := &numbered{fields: []string{"Cache-Control: max-age=10, stale-if-error=600", `Etag: "1"`}}
						down := false
						g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
							time.Sleep(time.Second)
							switch {
							case down:
								w.WriteHeader(http.StatusServiceUnavailable)
							case r.Header.Get("Cookie")+r.Header.Get("Authorization") != "":
								k := 0
								answering(&k, 200, "hello bob", private...)(w, r)
							default:
								public.ServeHTTP(w, r)
							}
						})
						defer cleanup()
						require.Equal(t, "1", g.get(url).Body.String())
						method, seconds := http.MethodGet, 0
						switch request {
						case "head":
							method, seconds = http.MethodHead, 20
						case "validation":
							seconds = 20
						}
						time.Sleep(time.Duration(seconds) * time.Second)
						got := g.send(method, url, append(fields, credentials)...)
						if method == http.MethodGet {
							require.Equal(t, "hello bob", got.Body.String())
						}
						down = true
						time.Sleep(20 * time.Second)
						require.Equal(t, "1", g.get(url).Body.String(), "it is still there to stand in")
						down = false
						time.Sleep(2 * time.Second) // for the mark of the failure

						g.shared.purge(purge.Purge{Kind: purge.All})
						g.send(http.MethodGet, url, credentials)
						var done sync.WaitGroup
						for range 5 {
							done.Go(func() { g.get(url) })
						}
						done.Wait()
						public.requireFetches(t, 2, "one for all")
					})
				})
			}
		}
	}
}

// TestRefreshIsForAll: a refresh in the background asks as the stored response was
// asked for. One client's session, credentials and wishes are not part of it.
func TestRefreshIsForAll(t *testing.T) {
	const stale = "Cache-Control: max-age=10, stale-while-revalidate=600"
	tests := []struct {
		name          string
		first, second []string
		fields        []string
		config        string
		sent          string // what the refresh has of the second request
	}{
		{name: "session", second: []string{"Cookie: session=1"}},
		{name: "credentials", second: []string{"Authorization: Bearer 1"}},
		{name: "no-store", second: []string{"Cache-Control: no-store"}},
		{name: "no-store and Pragma", second: []string{"Cache-Control: no-store", "Pragma: no-cache"}},
		{name: "made with a cookie", first: []string{"Cookie: a=b"}, second: []string{"Cookie: c=d", "Authorization: x", "Cache-Control: no-store"}, sent: "Cookie: c=d"},
		{name: "made with credentials", first: []string{"Authorization: x"}, second: []string{"Cookie: c=d", "Authorization: y"},
			fields: []string{"Cache-Control: max-age=10, stale-while-revalidate=600, public"}, sent: "Authorization: y"},
		{name: "selected by the cookie", first: []string{"Cookie: a=b"}, second: []string{"Cookie: a=b"}, fields: []string{stale, "Vary: Cookie"}, sent: "Cookie: a=b"},
		{name: "selected by directives", first: []string{"Cache-Control: max-age=300"}, second: []string{"Cache-Control: max-age=300"},
			fields: []string{stale, "Vary: Cache-Control"}, sent: "Cache-Control: max-age=300"},
		{name: "keyed by directives", config: `{"key": {"headers": ["Cache-Control"]}, "client_control": "ignore"}`, first: []string{"Cache-Control: a"}, second: []string{"Cache-Control: a"},
			sent: "Cache-Control: a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.fields == nil {
					tt.fields = []string{stale}
				}
				if tt.config == "" {
					tt.config = `{"client_control": "ignore"}`
					if strings.Contains(tt.name, "no-store") {
						tt.config = `{}`
					}
				}
				var n int
				var seen []string
				g, cleanup := newRig(t, tt.config, func(w http.ResponseWriter, r *http.Request) {
					seen = nil
					for _, name := range []string{"Cookie", "Authorization", "Cache-Control", "Pragma"} {
						if v := r.Header.Get(name); v != "" {
							seen = append(seen, name+": "+v)
						}
					}
					answering(&n, 200, "x", tt.fields...)(w, r)
				})
				defer cleanup()
				g.get("http://example.com/", tt.first...)
				for range 3 { // the facts about the first answer stay with the later ones
					time.Sleep(20 * time.Second)
					before := n
					require.Equal(t, "edge; hit; ttl=-10", g.get("http://example.com/", tt.second...).cacheStatus())
					synctest.Wait()
					require.Equal(t, before+1, n)
					require.Equal(t, tt.sent, strings.Join(seen, "\n"))
					require.Equal(t, "edge; hit; ttl=10", g.get("http://example.com/", tt.second...).cacheStatus(), "it was refreshed")
				}
			})
		})
	}
}

// TestRefreshKeepsWhatTheContentWasMadeFor: also over confirmations by others.
func TestRefreshKeepsWhatTheContentWasMadeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cookies []string
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			cookies = append(cookies, r.Header.Get("Cookie"))
			w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=30")
			w.Header().Set("Etag", `"1"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, "x")
		})
		defer cleanup()
		g.get("http://example.com/", "Cookie: a=b")
		time.Sleep(time.Minute)
		g.get("http://example.com/")
		time.Sleep(20 * time.Second)
		g.get("http://example.com/", "Cookie: c=d")
		synctest.Wait()
		require.Equal(t, []string{"a=b", "", "c=d"}, cookies)
	})
}

// TestRequestsWithCredentialsDoNotQueue: those whose answers are for one client
// each do not wait for one another, and leave the others' collapsing alone.
func TestRequestsWithCredentialsDoNotQueue(t *testing.T) {
	const url = "http://example.com/"
	for _, tt := range []struct {
		name, credentials string
		fields            []string
	}{
		{"authorization", "Authorization: Bearer ", []string{"Cache-Control: max-age=60"}},
		{"validator", "Cookie: session=", []string{`Etag: "1"`}},
		{"private", "Cookie: session=", []string{"Cache-Control: private"}},
		{"authorization, error", "Authorization: Bearer ", []string{"Status: 500"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var anonymous atomic.Int32
				g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Second)
					if r.Header.Get("Authorization")+r.Header.Get("Cookie") == "" {
						anonymous.Add(1)
						n := 0
						answering(&n, 200, "x", "Cache-Control: max-age=60")(w, r)
						return
					}
					if tt.fields[0] == "Status: 500" {
						w.WriteHeader(http.StatusInternalServerError)
						return
					}
					n := 0
					answering(&n, 200, "x", tt.fields...)(w, r)
				})
				defer cleanup()
				crowd := func(credentials string) time.Duration {
					start := time.Now()
					var done sync.WaitGroup
					for i := range 10 {
						done.Go(func() {
							if credentials == "" {
								g.get(url)
								return
							}
							g.get(url, credentials+strconv.Itoa(i))
						})
					}
					done.Wait()
					return time.Since(start)
				}
				require.LessOrEqual(t, crowd(tt.credentials), 2100*time.Millisecond, "cold")
				if tt.fields[0] != "Status: 500" { // of which the mark is short
					require.LessOrEqual(t, crowd(tt.credentials), 1150*time.Millisecond, "known")
				}
				require.LessOrEqual(t, crowd(""), 1150*time.Millisecond)
				require.EqualValues(t, 1, anonymous.Load(), "the others share one fetch")
			})
		})
	}
}

// TestCookiesOfOthersStillCollapse: a session that gets a page of its own does not
// make those fetch for themselves who have only the cookie of a statistics script.
func TestCookiesOfOthersStillCollapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			control := "max-age=60"
			if strings.Contains(r.Header.Get("Cookie"), "session") {
				control = "private"
			} else {
				n.Add(1)
			}
			w.Header().Set("Cache-Control", control)
			_, _ = io.WriteString(w, "x")
		})
		defer cleanup()
		g.get("http://example.com/", "Cookie: _ga=1; session=2")
		var done sync.WaitGroup
		for i := range 10 {
			done.Go(func() { g.get("http://example.com/", fmt.Sprintf("Cookie: _ga=%d", i)) })
		}
		done.Wait()
		require.EqualValues(t, 1, n.Load())
	})
}

// TestKindsOfCredentials: only what kind they are tells requests apart.
func TestKindsOfCredentials(t *testing.T) {
	kind := func(fields ...string) string {
		h := http.Header{}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			h.Add(name, value)
		}
		return credentials(h)
	}
	require.Empty(t, kind("X-Any: 1"))
	require.Equal(t, kind("Cookie: a=1; b=2"), kind("Cookie: b=3", "Cookie: a=4"))
	require.Equal(t, kind("Authorization: Basic x"), kind("Authorization: Bearer y"))
	different := []string{"", kind("Cookie: a"), kind("Cookie: b"), kind("Cookie: a; b"), kind("Cookie: "), kind("Authorization: x"), kind("Authorization: x", "Cookie: a")}
	for i, a := range different {
		for _, b := range different[i+1:] {
			require.NotEqual(t, a, b)
		}
	}
}
