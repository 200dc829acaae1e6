package edgecache

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// TestRangesInAnyOrderOfAnUnstoredBody: the fetch of a body that is not kept
// can't go back; the client must get something right, or an aborted connection,
// and the process must live.
func TestRangesInAnyOrderOfAnUnstoredBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := pattern(4 << 20)
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			for rest := body; len(rest) > 0; rest = rest[32<<10:] {
				if _, err := w.Write(rest[:32<<10]); err != nil {
					return
				}
			}
		})
		defer cleanup()
		got := g.get("http://example.com/big", "Range: bytes=1000000-1000010,0-10")
		if !got.aborted {
			require.Equal(t, http.StatusOK, got.Code)
			require.True(t, bytes.Equal(body, got.Body.Bytes()))
		}
		for _, r := range []struct{ field, want string }{
			{"bytes=5-8", string(body[5:9])}, {"bytes=1000000-1000003", string(body[1000000:1000004])},
		} {
			got = g.get("http://example.com/"+r.field, "Range: "+r.field)
			require.Equal(t, http.StatusPartialContent, got.Code)
			require.Equal(t, r.want, got.Body.String())
		}
	})
}

// TestUnknownRangeUnitIsIgnored: RFC 9110 section 14.2.
func TestUnknownRangeUnitIsIgnored(t *testing.T) {
	var n int
	g, cleanup := newRig(t, `{}`, answering(&n, 200, "0123456789", "Cache-Control: max-age=60"))
	defer cleanup()
	g.get("http://example.com/")
	for _, field := range []string{"lines=1-2", "bytes", "Lines=0-"} {
		got := g.get("http://example.com/", "Range: "+field)
		require.Equal(t, http.StatusOK, got.Code, field)
		require.Equal(t, "0123456789", got.Body.String(), field)
	}
	require.Equal(t, 1, n)
}

// editingWriter is a handler in front that changes field values in place, as
// Caddy's header directive does when it replaces.
type editingWriter struct {
	*httptest.ResponseRecorder
	with string
}

func (w *editingWriter) WriteHeader(code int) {
	for _, values := range w.Header() {
		for i := range values {
			values[i] = strings.ReplaceAll(values[i], "shared", w.with)
		}
	}
	w.ResponseRecorder.WriteHeader(code)
}

// TestRepliesShareNoHeaderValues: what stands in front changes the values of one
// reply only.
func TestRepliesShareNoHeaderValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("X-Word", "shared")
			_, _ = fmt.Fprint(w, "x")
			<-release
		})
		defer cleanup()
		words := make([]string, 4)
		var done sync.WaitGroup
		for i := range words {
			done.Go(func() {
				w := &editingWriter{httptest.NewRecorder(), strconv.Itoa(i)}
				g.serve(w, httptest.NewRequest(http.MethodGet, "http://example.com/", nil))
				words[i] = w.Header().Get("X-Word")
			})
			synctest.Wait()
		}
		close(release)
		done.Wait()
		require.Equal(t, []string{"0", "1", "2", "3"}, words)
		for range 2 {
			w := &editingWriter{httptest.NewRecorder(), "hit"}
			g.serve(w, httptest.NewRequest(http.MethodGet, "http://example.com/", nil))
			require.Equal(t, "hit", w.Header().Get("X-Word"))
		}
	})
}

// TestHitsAndMissesSayTheSame: fields that handlers in front have set stand
// beside those of the response, however it was come by.
func TestHitsAndMissesSayTheSame(t *testing.T) {
	var n int
	g, cleanup := newRig(t, `{"status_header": "off"}`, answering(&n, 200, "x",
		"Cache-Control: max-age=60", "Vary: Accept-Language", "Server: origin", "Link: <b>"))
	defer cleanup()
	for _, front := range []http.Header{
		{"Vary": {"Origin"}},
		{"Server": {"Caddy"}, "Link": {"<a>"}},
		{"Vary": {"Origin"}, "Link": {"<a>"}, "X-One": {"1"}, "X-Two": {"2"}, "X-Three": {"3"}},
	} {
		url := fmt.Sprintf("http://example.com/%d", len(front))
		var headers []http.Header
		for range 2 {
			w := httptest.NewRecorder()
			maps.Copy(w.Header(), front)
			g.serve(w, httptest.NewRequest(http.MethodGet, url, nil))
			w.Header().Del("Age")
			w.Header().Del("Date")
			headers = append(headers, w.Header())
		}
		require.Equal(t, headers[0], headers[1])
	}
	require.Equal(t, 3, n)
}

// TestHeadDoesNotPoison: a HEAD request is not keyed more than a GET, so no
// unkeyed field may reach the origin with it, or its response would update what
// others are served.
func TestHeadDoesNotPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("Link", "<"+r.Header.Get("X-Host")+">")
			w.Header().Set("Content-Length", "1")
			if r.Method != http.MethodHead {
				_, _ = fmt.Fprint(w, "x")
			}
		})
		defer cleanup()
		require.Equal(t, "<>", g.get("http://example.com/").Header().Get("Link"))
		time.Sleep(2 * time.Minute)
		g.send(http.MethodHead, "http://example.com/", "X-Host: evil")
		require.Equal(t, "<>", g.get("http://example.com/").Header().Get("Link"))
	})
}

// TestConditionalHeadLeavesTheStoreAlone: the 304 or 206 that a client's own
// fields cause says nothing against the stored response.
func TestConditionalHeadLeavesTheStoreAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60, stale-if-error=600")
			w.Header().Set("Etag", `"1"`)
			switch {
			case r.Header.Get("X-Fail") != "":
				w.WriteHeader(http.StatusBadGateway)
			case r.Header.Get("If-None-Match") == `"1"`:
				w.WriteHeader(http.StatusNotModified)
			case r.Method != http.MethodHead:
				_, _ = fmt.Fprint(w, "x")
			}
		})
		defer cleanup()
		g.get("http://example.com/")
		time.Sleep(2 * time.Minute)
		require.Equal(t, http.StatusNotModified, g.send(http.MethodHead, "http://example.com/", `If-None-Match: "1"`).Code)
		got := g.get("http://example.com/", "X-Fail: 1")
		require.Equal(t, http.StatusOK, got.Code)
		require.Equal(t, "x", got.Body.String())
	})
}

// TestNoCacheIsNotShared: a response that must be validated before each use is
// of use to nobody else, whatever max-age it also has.
func TestNoCacheIsNotShared(t *testing.T) {
	for _, cc := range []string{"no-cache", "no-cache, max-age=60", "no-cache, stale-while-revalidate=60", "max-age=0, must-revalidate"} {
		t.Run(cc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				fetches := 0
				g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
					mu.Lock()
					fetches++
					mu.Unlock()
					time.Sleep(time.Second)
					w.Header().Set("Cache-Control", cc)
					w.Header().Set("Etag", `"1"`)
					_, _ = fmt.Fprint(w, "x")
				})
				defer cleanup()
				var done sync.WaitGroup
				for range 5 {
					done.Go(func() { g.get("http://example.com/") })
				}
				done.Wait()
				require.Equal(t, 5, fetches)
			})
		})
	}
}

// TestHandlerThatWritesNothing: its fields are sent, with 200, on every way.
func TestHandlerThatWritesNothing(t *testing.T) {
	for _, config := range []string{`{}`, `{"collapse": {"off": true}}`} {
		g, cleanup := newRig(t, config, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-A", "b") })
		for range 3 {
			got := g.get("http://example.com/")
			require.Equal(t, "b", got.Header().Get("X-A"))
			require.NotEmpty(t, got.Header().Get("Cache-Status"))
		}
		cleanup()
	}
}

// TestInvalidationComesBeforeTheReply: a client that has the header of its POST's
// reply is never shown what was stored before it.
func TestInvalidationComesBeforeTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version, early := "1", ""
		g, cleanup := newRig(t, `{}`, nil)
		defer cleanup()
		g.origin = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "max-age=60")
			if r.Method == http.MethodPost {
				version = "2"
				w.WriteHeader(http.StatusOK)
				early = g.get("http://example.com/").Body.String()
				return nil
			}
			_, err := fmt.Fprint(w, version)
			return err
		})
		require.Equal(t, "1", g.get("http://example.com/").Body.String())
		require.Equal(t, http.StatusOK, g.send(http.MethodPost, "http://example.com/").Code)
		require.Equal(t, "2", early)
		require.Equal(t, "2", g.get("http://example.com/").Body.String())
	})
}

// TestHeadWithoutValidatorsFreshensNothing: two versions of one length can't be
// told apart by it.
func TestHeadWithoutValidatorsFreshensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := "1"
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Length", "1")
			if r.Method != http.MethodHead {
				_, _ = fmt.Fprint(w, version)
			}
		})
		defer cleanup()
		g.get("http://example.com/")
		version = "2"
		time.Sleep(2 * time.Minute)
		g.send(http.MethodHead, "http://example.com/")
		require.Equal(t, "2", g.get("http://example.com/").Body.String())
	})
}

// TestOneClientsCredentialsDropNothing: a response that is not stored because of
// who asked says nothing against what is stored for everybody.
func TestOneClientsCredentialsDropNothing(t *testing.T) {
	for _, field := range []string{"Authorization: Basic eDp5", "Cache-Control: no-store"} {
		synctest.Test(t, func(t *testing.T) {
			broken := false
			g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60, stale-if-error=600")
				if broken {
					w.WriteHeader(http.StatusBadGateway)
				}
				_, _ = fmt.Fprint(w, "x")
			})
			defer cleanup()
			g.get("http://example.com/")
			time.Sleep(2 * time.Minute)
			g.get("http://example.com/", field)
			broken = true
			require.Equal(t, http.StatusOK, g.get("http://example.com/").Code, field)
		})
	}
}

// TestSoftlyPurgedIsToldAsStale: the status must not promise freshness.
func TestSoftlyPurgedIsToldAsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int
		g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Cache-Control: max-age=60, stale-while-revalidate=60"))
		defer cleanup()
		g.get("http://example.com/")
		time.Sleep(time.Second)
		g.shared.purge(purge.Purge{Kind: purge.All, Soft: true})
		require.Equal(t, "edge; hit; ttl=-1", g.get("http://example.com/").Header().Get("Cache-Status"))
		synctest.Wait()
		require.Equal(t, 2, n, "one refresh")
	})
}

// TestWhoHasTheResponseFindsItStored: the last bytes wait for the store, but not
// for a handler that goes on working behind its response.
func TestWhoHasTheResponseFindsItStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			answering(&n, 200, "page", "Cache-Control: max-age=60")(w, r)
			time.Sleep(settleTime / 2)
			if r.URL.Path == "/works-on" {
				time.Sleep(time.Minute)
			}
		})
		defer cleanup()
		require.Equal(t, "page", g.get("http://example.com/").Body.String())
		require.Equal(t, "edge; hit; ttl=60", g.get("http://example.com/").Header().Get("Cache-Status"))
		start := time.Now()
		require.Equal(t, "page", g.get("http://example.com/works-on").Body.String())
		require.GreaterOrEqual(t, time.Since(start), settleTime)
	})
}

// TestInterimResponsesShareNoValues: what a handler in front changes in a 1xx
// response for one client does not reach another.
func TestInterimResponsesShareNoValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</shared.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			<-release
			w.Header().Del("Link")
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = fmt.Fprint(w, "x")
		})
		defer cleanup()
		var done sync.WaitGroup
		clients := []*hintEditor{{with: "one"}, {with: "two"}}
		for _, w := range clients {
			w.ResponseRecorder = httptest.NewRecorder()
			done.Go(func() { g.serve(w, httptest.NewRequest(http.MethodGet, "http://example.com/", nil)) })
			synctest.Wait()
		}
		close(release)
		done.Wait()
		require.Equal(t, []string{"</one.css>; rel=preload"}, clients[0].seen)
		require.Equal(t, []string{"</two.css>; rel=preload"}, clients[1].seen)
	})
}

// hintEditor is an editingWriter that also edits 103, as Caddy's header directive
// does.
type hintEditor struct {
	*httptest.ResponseRecorder
	with string
	seen []string
}

func (w *hintEditor) WriteHeader(code int) {
	if code != http.StatusEarlyHints {
		w.ResponseRecorder.WriteHeader(code)
		return
	}
	for i := range w.Header()["Link"] {
		w.Header()["Link"][i] = strings.ReplaceAll(w.Header()["Link"][i], "shared", w.with)
	}
	w.seen = append(w.seen, w.Header()["Link"]...)
}

// TestAgeOfACollapsedResponse: the origin may be a cache, and who joins late gets
// what is older still (RFC 9111 section 5.1).
func TestAgeOfACollapsedResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.Header().Set("Cache-Control", "max-age=60")
			if r.URL.Path == "/old" {
				w.Header().Set("Age", "50")
			}
			w.WriteHeader(http.StatusOK)
			time.Sleep(4 * time.Second)
			_, _ = fmt.Fprint(w, "x")
		})
		defer cleanup()
		for _, tt := range []struct {
			path   string
			age    []string
			status []string
		}{
			{"/old", []string{"50", "51", "54"}, []string{"edge; fwd=uri-miss; stored; ttl=9", "edge; fwd=uri-miss; stored; collapsed; ttl=9", "edge; fwd=uri-miss; stored; collapsed; ttl=6"}},
			{"/new", []string{"", "1", "4"}, []string{"edge; fwd=uri-miss; stored; ttl=59", "edge; fwd=uri-miss; stored; collapsed; ttl=59", "edge; fwd=uri-miss; stored; collapsed; ttl=56"}},
		} {
			ages, statuses := make([]string, 3), make([]string, 3)
			var done sync.WaitGroup
			for i, wait := range []time.Duration{0, 0, 4 * time.Second} {
				done.Go(func() {
					time.Sleep(wait)
					time.Sleep(time.Duration(i) * time.Millisecond)
					got := g.get("http://example.com" + tt.path)
					ages[i], statuses[i] = got.Header().Get("Age"), got.cacheStatus()
				})
			}
			done.Wait()
			require.Equal(t, tt.age, ages)
			require.Equal(t, tt.status, statuses)
		}
	})
}
