package edgecache

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// TestReasons: the set is closed, and each has one name.
func TestReasons(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range reasons() {
		name := r.String()
		require.Regexp(t, `^[a-z]+(-[a-z]+)*$`, name, "%d", r)
		require.False(t, seen[name], name)
		seen[name] = true
	}
	require.Len(t, ownNames, int(reasonsEnd-ownReasons))
	require.Empty(t, noReason.String())
	require.Equal(t, "only-if-cached", reasonCached.String())
	require.Equal(t, "cookie", reasonCookie.String())
	require.Equal(t, "method", reasonMethod.String())
	require.Equal(t, "vary-star", reasonStar.String())
}

// TestReasonsAreDocumented: who sees one finds what it means.
func TestReasonsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/edge_cache.md")
	require.NoError(t, err)
	for _, r := range reasons() {
		require.Regexp(t, "`"+regexp.QuoteMeta(r.String())+"`", string(page))
	}
}

// counts returns how often each reason was counted so far.
func counts(t *testing.T, h *Handler) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	for _, r := range reasons() {
		require.NotNil(t, h.metrics.reasons[r], "%s is known before it is needed", r)
		var m dto.Metric
		require.NoError(t, h.metrics.reasons[r].Write(&m))
		all[r.String()] = m.GetCounter().GetValue()
	}
	return all
}

// TestEachDecisionIsCounted: by the reasons that Cache-Status tells, and by those of what
// it does not explain.
func TestEachDecisionIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fields string
		code := http.StatusOK
		g, cleanup := newRig(t, `{"bypass_cookies": ["session"], "stale_on_error": "1h", "rules": [{"match": [{"path": ["/rule"]}], "bypass": true}]}`,
			func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("If-None-Match") != "" && code == http.StatusOK {
					w.WriteHeader(http.StatusNotModified)
					return
				}
				for f := range strings.SplitSeq(fields, "\n") {
					name, value, _ := strings.Cut(f, ": ")
					w.Header().Set(name, value)
				}
				w.WriteHeader(code)
			})
		defer cleanup()
		for _, step := range []struct {
			name, path, answer string
			code               int
			request            []string
			wait               time.Duration
			status             string
			want               []string
		}{
			{"stored", "/a", "Cache-Control: max-age=60, stale-while-revalidate=60\nEtag: \"1\"", 200, nil, 0, "edge; fwd=uri-miss; stored; ttl=60", []string{"explicit"}},
			{"fresh", "/a", "", 200, nil, 0, "edge; hit; ttl=60", []string{"fresh"}},
			{"forced", "/a", "", 200, []string{"Cache-Control: no-cache"}, 0, "edge; fwd=request; fwd-status=304; ttl=60", []string{"request-no-cache", "explicit"}},
			{"forced again", "/a", "", 200, []string{"Cache-Control: no-cache"}, 0, "edge; hit; ttl=60", []string{"fresh"}},
			{"stale", "/a", "", 200, nil, 61 * time.Second, "edge; hit; ttl=-1", []string{"stale-while-revalidate"}},
			{"stale for too long", "/a", "", 200, nil, 200 * time.Second, "edge; fwd=stale; fwd-status=304; ttl=60", []string{"stale", "explicit"}},
			{"in place of a failure", "/a", "", 503, nil, 200 * time.Second, "edge; fwd=stale; fwd-status=503; ttl=-140; detail=stale-if-error", []string{"stale", "stale-if-error"}},
			{"not stored", "/b", "Cache-Control: private", 200, nil, 0, "edge; fwd=uri-miss; detail=private", []string{"private"}},
			{"not stored, by the handler's rule", "/c.css", "Cache-Control: max-age=1\nContent-Type: text/html", 200, nil, 0, "edge; fwd=uri-miss; detail=content-type-mismatch", []string{"content-type-mismatch"}},
			{"cookie", "/a", "", 200, []string{"Cookie: session=1"}, 0, "edge; fwd=bypass; detail=cookie", []string{"cookie"}},
			{"rule", "/rule", "", 200, nil, 0, "edge; fwd=bypass; detail=rule", []string{"rule"}},
			{"only if cached", "/e", "", 200, []string{"Cache-Control: only-if-cached"}, 0, "edge; fwd=request", []string{"only-if-cached"}},
		} {
			time.Sleep(step.wait)
			fields, code = step.answer, step.code
			before := counts(t, g.Handler)
			require.Equal(t, step.status, g.get("http://example.com"+step.path, step.request...).cacheStatus(), step.name)
			var got []string
			for name, n := range counts(t, g.Handler) {
				if n != before[name] {
					require.InDelta(t, before[name]+1, n, 0, "%s: %s", step.name, name)
					got = append(got, name)
				}
			}
			require.ElementsMatch(t, step.want, got, step.name)
			synctest.Wait() // for the refresh in the background
		}
	})
}

// TestReasonsInTheLog: each entry says why the origin was asked and why the response was,
// or was not, stored.
func TestReasonsInPlaceholders(t *testing.T) {
	for _, test := range []struct {
		s                      status
		detail, reason, source string
	}{
		{status{result: ResultHit, reuse: reason(40)}, "", "fresh", ""},
		{status{result: ResultStore, reason: reason(1)}, "", "", "explicit"},
		{status{result: ResultExpired, reuse: reason(41), reason: reason(5)}, "", "stale", "override"},
		{status{result: ResultMiss, reuse: reason(41), reason: reasonTooLarge}, "too-large", "stale", ""},
		{status{result: ResultRevalidated, reuse: reason(41), reason: reason(1)}, "", "stale", ""},
	} {
		p := &reply{status: test.s}
		for key, want := range map[string]string{"detail": test.detail, "reason": test.reason, "source": test.source} {
			got, ok := p.placeholder("http.edge_cache." + key)
			require.True(t, ok)
			require.Equal(t, want, got, "%s of %+v", key, test.s)
		}
	}
}

// TestWantsEvents: server-sent events pass wherever Accept names them.
func TestWantsEvents(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/event-stream": true, "text/event-stream, */*": true, "application/json, text/event-stream;q=0.9": true, "Text/Event-Stream": true,
		"*/*,\ttext/event-stream ; charset=utf-8": true, "": false, "*/*": false, "text/*": false, "text/event-streams": false,
		"text/html,application/signed-exchange;v=b3;q=0.7": false, "x/text/event-stream": false,
	} {
		require.Equal(t, want, wantsEvents([]string{"application/json", accept}), accept)
	}
}

// TestEventsAreNotCollapsed: clients of one stream each have a fetch of their own, at
// once.
func TestEventsAreNotCollapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 3
		arrived := make(chan struct{}, clients)
		letGo := make(chan struct{})
		g, cleanup := newRig(t, `{}`, nil)
		defer cleanup()
		g.origin = caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			arrived <- struct{}{}
			<-letGo
			w.Header().Set("Cache-Control", "max-age=60")
			_, err := w.Write([]byte("data: x\n\n"))
			return err
		})
		for range clients {
			go func() {
				got := g.get("http://example.com/", "Accept: text/event-stream, */*")
				if got.cacheStatus() != "edge; fwd=bypass; detail=event-stream" {
					t.Error(got.cacheStatus())
				}
			}()
		}
		synctest.Wait()
		require.Len(t, arrived, clients)
		close(letGo)
	})
}
