package edgecache

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// faltering is an origin that is up at first, and then fails after a second, by a
// status or by an error.
type faltering struct {
	fields []string
	down   bool
	err    error
	hold   chan struct{} // the first failure waits for it
	n      int
}

func (o *faltering) ServeHTTP(w http.ResponseWriter, _ *http.Request) error {
	o.n++
	if !o.down {
		k := 0
		answering(&k, 200, "old", o.fields...)(w, nil)
		return nil
	}
	if hold := o.hold; hold != nil {
		o.hold = nil
		<-hold
	}
	time.Sleep(time.Second)
	if o.err != nil {
		return o.err
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, "down")
	return err
}

// TestStaleIfErrorIsOneClientsWish: what one client's directives allow or forbid is
// for its own request (RFC 5861 section 4).
func TestStaleIfErrorIsOneClientsWish(t *testing.T) {
	const url = "http://example.com/"
	dial := caddyhttp.HandlerError{StatusCode: http.StatusBadGateway, Err: reverseproxy.NewDialError(errors.New("refused"))}
	for _, tt := range []struct {
		name, config, field string
		fields              []string
		err                 error
		leader, follower    int
	}{
		{"allowed, status", `{}`, "Cache-Control: stale-if-error=1000000", []string{"Cache-Control: max-age=1", `Etag: "1"`}, nil, 200, 503},
		{"allowed, no connection", `{}`, "Cache-Control: stale-if-error=1000000", []string{"Cache-Control: max-age=1", `Etag: "1"`}, dial, 200, 502},
		{"forbidden, status", `{"client_control": "honour"}`, "Cache-Control: no-cache", []string{"Cache-Control: max-age=1, stale-if-error=1000000"}, nil, 503, 200},
		{"forbidden, no connection", `{"client_control": "honour"}`, "Cache-Control: no-cache", []string{"Cache-Control: max-age=1, stale-if-error=1000000"}, dial, 502, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &faltering{fields: tt.fields, err: tt.err}
				g, cleanup := newRig(t, tt.config, nil)
				defer cleanup()
				g.origin = o
				g.get(url)
				time.Sleep(24 * time.Hour)
				o.down = true
				codes := make(chan [2]int, 2)
				go func() { codes <- [2]int{0, g.get(url, tt.field).Code} }()
				time.Sleep(100 * time.Millisecond)
				go func() { codes <- [2]int{1, g.get(url).Code} }()
				var got [2]int
				for range got {
					c := <-codes
					got[c[0]] = c[1]
				}
				require.Equal(t, [2]int{tt.leader, tt.follower}, got)
			})
		})
	}
}

// TestStandsInForWhoWaitedTooLong: a request that gave up waiting for another's
// fetch, and then fails itself, may have the stored response as well.
func TestStandsInForWhoWaitedTooLong(t *testing.T) {
	const url = "http://example.com/"
	for _, tt := range []struct {
		name   string
		err    error
		purged bool
		status string
		code   int
	}{
		{name: "status", status: "edge; fwd=stale; fwd-status=503; ttl=-120; detail=stale-if-error", code: 200},
		{name: "error", err: caddyhttp.HandlerError{StatusCode: 502, Err: errors.New("refused")}, status: "edge; fwd=stale; fwd-status=502; ttl=-120; detail=stale-if-error", code: 200},
		{name: "purged", purged: true, status: "edge; fwd=stale; detail=no-freshness", code: 503},
		{name: "other error", err: caddyhttp.HandlerError{StatusCode: 413, Err: errors.New("no")}, status: "edge; fwd=stale", code: 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold := make(chan struct{})
				release := sync.OnceFunc(func() { close(hold) })
				defer release()
				o := &faltering{fields: []string{"Cache-Control: max-age=60, stale-if-error=600"}, err: tt.err, hold: hold}
				g, cleanup := newRig(t, `{}`, nil)
				defer cleanup()
				g.origin = o
				g.get(url)
				time.Sleep(149 * time.Second)
				o.down = true
				go g.get(url)
				synctest.Wait()
				if tt.purged {
					time.AfterFunc(DefaultWaitTimeout, func() { g.shared.purge(purge.Purge{Kind: purge.All}) })
				}
				got := g.get(url)
				require.Equal(t, tt.code, got.Code)
				require.Equal(t, tt.status, got.cacheStatus())
				if tt.code == http.StatusOK {
					require.Equal(t, "old", got.Body.String())
				}
				release()
				synctest.Wait()
				time.Sleep(2 * time.Second)
			})
		})
	}
}

// TestUnaskedConfirmation: a stored response without a validator is fetched without
// a condition, so that a 304 confirms nothing.
func TestUnaskedConfirmation(t *testing.T) {
	for _, tt := range []struct {
		control, status string
		code            int
	}{
		{"max-age=60", "edge; fwd=stale", 502},
		{"max-age=60, stale-if-error=600", "edge; fwd=stale; fwd-status=502; ttl=-60; detail=stale-if-error", 200},
	} {
		t.Run(tt.control, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := false
				g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Cache-Control", tt.control)
					if bad {
						assert.Empty(t, r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since"))
						w.WriteHeader(http.StatusNotModified)
						return
					}
					_, _ = io.WriteString(w, "x")
				})
				defer cleanup()
				g.get("http://example.com/")
				time.Sleep(2 * time.Minute)
				bad = true
				for range 2 {
					got := g.get("http://example.com/")
					require.Equal(t, tt.code, got.Code)
					require.Equal(t, tt.status, got.cacheStatus())
				}
				bad = false
				require.Equal(t, "x", g.get("http://example.com/").Body.String())
			})
		})
	}
}

// TestSoftPurgeStartsTheWindows: the stale windows of a softly purged response begin
// with the purge, and end.
func TestSoftPurgeStartsTheWindows(t *testing.T) {
	for _, field := range []string{"stale-if-error", "stale-while-revalidate"} {
		t.Run(field, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &faltering{fields: []string{"Cache-Control: max-age=86400, " + field + "=60"}}
				g, cleanup := newRig(t, `{}`, nil)
				defer cleanup()
				g.origin = o
				g.get("http://example.com/")
				time.Sleep(time.Minute)
				g.shared.purge(purge.Purge{Kind: purge.All, Soft: true})
				o.down = true
				for _, step := range []struct {
					wait time.Duration
					code int
				}{{0, 200}, {30 * time.Second, 200}, {26 * time.Second, 200}, {5 * time.Second, 503}, {10 * time.Hour, 503}} {
					time.Sleep(step.wait)
					g.shared.purge(purge.Purge{Kind: purge.All, Soft: true}) // once more does not begin it anew
					require.Equal(t, step.code, g.get("http://example.com/").Code, step)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}
