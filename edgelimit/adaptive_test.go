package edgelimit

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/adaptive"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

func newAdaptive(t require.TestingT, config string) (*rig, *Adaptive, func()) {
	h, cleanup, err := provision("http.handlers.edge_adaptive", config)
	require.NoError(t, err)
	a := h.(*Adaptive)
	return &rig{h, func(http.ResponseWriter, *http.Request) error { return nil }, new(caddyhttp.Server)}, a, cleanup
}

func TestAdaptiveRefusal(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		routes bool
		status int
		body   string
	}{
		"direct":       {`{"name": "direct", "min": 1, "max": 2, "initial": 1}`, false, 503, `{"error":"overloaded","retry_after":1}`},
		"429":          {`{"name": "429", "min": 1, "max": 2, "initial": 1, "status": 429}`, false, 429, `{"error":"overloaded","retry_after":1}`},
		"error routes": {`{"name": "routes", "min": 1, "max": 2, "initial": 1}`, true, 503, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, a, cleanup := newAdaptive(t, tt.config)
				defer cleanup()
				if tt.routes {
					g.server.Errors = &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}
				}
				hold := make(chan struct{})
				g.origin = func(http.ResponseWriter, *http.Request) error { <-hold; return nil }
				var wg sync.WaitGroup
				wg.Go(func() { g.get("192.0.2.1", "http://a/") })
				synctest.Wait()
				w := g.get("192.0.2.2", "http://a/")
				require.Equal(t, tt.status, w.Code)
				require.Equal(t, tt.body, w.Body.String())
				require.Equal(t, "1", w.Header().Get("Retry-After"))
				require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
				s := a.control.status(time.Now())
				require.Equal(t, []any{1, uint64(1), "shedding"}, []any{s.InFlight, s.Refused["limit_reached"], s.State})
				close(hold)
				wg.Wait()
				require.Equal(t, 200, g.get("192.0.2.2", "http://a/").Code)
				require.Zero(t, a.control.status(time.Now()).InFlight)
			})
		})
	}
}

// TestSlotsComeBack: however a request ends.
func TestSlotsComeBack(t *testing.T) {
	g, a, cleanup := newAdaptive(t, `{"name": "slots"}`)
	defer cleanup()
	for name, origin := range map[string]func(http.ResponseWriter, *http.Request) error{
		"nothing": func(http.ResponseWriter, *http.Request) error { return nil },
		"error":   func(http.ResponseWriter, *http.Request) error { return errors.New("failed") },
		"panic":   func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
		"hijack": func(w http.ResponseWriter, _ *http.Request) error {
			_, _, _ = http.NewResponseController(w).Hijack()
			return nil
		},
		"stream": func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			if s := a.control.status(time.Now()); s.Streams != 1 || s.InFlight != 0 {
				return errors.New("it is no stream")
			}
			return nil
		},
		"unread body": func(http.ResponseWriter, *http.Request) error { return nil },
	} {
		g.origin = origin
		func() {
			defer func() { _ = recover() }()
			r := request("192.0.2.1", "http://a/")
			if name == "unread body" {
				r = httptest.NewRequest(http.MethodPost, "http://a/", strings.NewReader("body"))
			}
			w := g.do(r)
			require.Equal(t, name == "error", w.Code == 500, name)
		}()
		s := a.control.status(time.Now())
		require.Equal(t, []int{0, 0, 0}, []int{s.InFlight, s.Streams, s.Uploads}, name)
	}
}

// TestStreamsAreCapped: event streams of one client beyond the cap are refused,
// those of others find the places that come free, and pages are not concerned.
func TestStreamsAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, cleanup := newAdaptive(t, `{"name": "sse", "streams": 2}`)
		defer cleanup()
		end := make(chan struct{})
		g.origin = func(w http.ResponseWriter, r *http.Request) error {
			if r.URL.Path == "/events" {
				w.Header().Set("Content-Type", "text/event-stream")
			}
			_, err := io.WriteString(w, "data: x\n\n")
			if r.URL.Path == "/events" && !w.(*originWriter).refused {
				<-end
			}
			return err
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { require.Equal(t, 200, g.get("192.0.2.1", "http://a/events").Code) })
		}
		synctest.Wait()
		w := g.get("192.0.2.1", "http://a/events")
		require.Equal(t, 503, w.Code)
		require.JSONEq(t, `{"error":"overloaded","retry_after":1}`, w.Body.String())
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Equal(t, 200, g.get("192.0.2.1", "http://a/page").Code)
		s := a.control.status(time.Now())
		require.Equal(t, []any{0, 2, uint64(1)}, []any{s.InFlight, s.Streams, s.Refused["streams_full"]})
		close(end)
		wg.Wait()
		require.Equal(t, 200, g.get("192.0.2.1", "http://a/events").Code)
	})
}

func TestClass(t *testing.T) {
	_, a, cleanup := newAdaptive(t, `{"name": "class", "priority_header": "x-priority",
		"priorities": [{"class": "high", "match": [{"path": ["/pay"]}]}, {"class": "low", "match": [{"path": ["/crawl", "/pay"]}]}]}`)
	defer cleanup()
	for _, tt := range []struct {
		url, header string
		trusted     bool
		background  bool
		want        adaptive.Class
	}{
		{"http://a/", "", false, false, adaptive.Normal},
		{"http://a/pay", "low", true, false, adaptive.High},
		{"http://a/crawl", "high", true, false, adaptive.Low},
		{"http://a/pay", "", false, true, adaptive.Background},
		{"http://a/", "high", true, false, adaptive.High},
		{"http://a/", "background", true, false, adaptive.Background},
		{"http://a/", "nonsense", true, false, adaptive.Normal},
		{"http://a/", "high", false, false, adaptive.Normal},
		{"http://a/", "background", false, false, adaptive.Normal},
		{"http://a/", "low", false, false, adaptive.Low},
	} {
		r := caddyhttp.PrepareRequest(request("192.0.2.1", tt.url), caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
		r.Header.Set("X-Priority", tt.header)
		caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, tt.trusted)
		if tt.background {
			reqinfo.From(r).Set(reqinfo.Background, "test")
		}
		got, err := a.class(r)
		require.NoError(t, err)
		require.Equal(t, tt.want, got, "%+v", tt)
	}
}

func TestModeRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, cleanup := newAdaptive(t, `{"name": "rate", "mode": "rate", "min": 1, "max": 4, "p95": "100ms", "rate": {"interval": "1s"}}`)
		defer cleanup()
		require.Equal(t, []int{200, 200, 200, 200, 503}, g.codes(5, "192.0.2.1", "http://a/"))
		g.origin = func(http.ResponseWriter, *http.Request) error {
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		for range 8 {
			time.Sleep(250 * time.Millisecond)
			g.get("192.0.2.1", "http://a/")
		}
		s := a.control.status(time.Now())
		require.Less(t, s.Limit, 4.0)
		require.Equal(t, ModeRate, s.Mode)
		require.Positive(t, s.Refused["rate"])
	})
}

// TestAbortsAreNoQuickAnswers: in mode rate, too.
func TestAbortsAreNoQuickAnswers(t *testing.T) {
	loop, err := adaptive.NewRateLoop(adaptive.RateConfig{Threshold: time.Second}, time.Now())
	require.NoError(t, err)
	start := time.Now()
	for _, waited := range []time.Duration{0, time.Second} {
		(&rateSample{loop: loop, threshold: time.Second, clock: start}).Abandoned(start.Add(waited))
	}
	require.Zero(t, loop.Status(start.Add(11*time.Second)).Latency.P95)
	(&rateSample{loop: loop, threshold: time.Second, clock: start}).Abandoned(start.Add(2 * time.Second))
	require.NotZero(t, loop.Status(start.Add(22*time.Second)).Latency.P95)
}

func TestBadAdaptiveConfigs(t *testing.T) {
	for config, want := range map[string]string{
		`{"priority_header": "a b"}`:                     `edge_adaptive: priority_header: invalid value "a b"`,
		`{"mode": "fast"}`:                               `edge_adaptive: mode: unknown value "fast"`,
		`{"min": 5, "max": 5}`:                           "edge_adaptive: min must be below max, but 5 is not below 5",
		`{"mode": "rate", "min": 600}`:                   "edge_adaptive: min must be below max, but 600 is not below 500",
		`{"p95": "2m"}`:                                  "edge_adaptive: p95 must be from 1ms to 1m",
		`{"mode": "rate", "p95": "2m"}`:                  "edge_adaptive: p95 must be from 1ms to 1m",
		`{"baseline": 1}`:                                "edge_adaptive: baseline must be from 2",
		`{"initial": 3}`:                                 "edge_adaptive: initial must be from min 4",
		`{"status": 500}`:                                "edge_adaptive: status: invalid value 500",
		`{"name": "a b"}`:                                `edge_adaptive: name: invalid value "a b"`,
		`{"key": "{nothing}"}`:                           "edge_adaptive: key: unknown placeholder {nothing}",
		`{"priorities": [{"class": "urgent"}]}`:          `edge_adaptive: priority 1: unknown class "urgent"`,
		`{"rate": {"interval": "1s"}}`:                   "edge_adaptive: interval: 1s: only in mode rate",
		`{"mode": "rate", "queue": 1}`:                   "edge_adaptive: queue: 1: only in mode inflight",
		`{"mode": "rate", "rate": {"reduction": 2}}`:     "edge_adaptive: reduction must be above 0 and below 1",
		`{"mode": "rate", "rate": {"recover_below": 2}}`: "edge_adaptive: recover_below must be",
	} {
		_, _, err := provision("http.handlers.edge_adaptive", config)
		require.ErrorContains(t, err, want, config)
	}
}
