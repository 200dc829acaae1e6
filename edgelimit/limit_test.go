package edgelimit

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dunglas/httpsfv"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
)

func TestBareLimit(t *testing.T) {
	g, cleanup := newRig(t, `{}`)
	defer cleanup()
	z := g.MiddlewareHandler.(*Limit).Zones[0]
	require.Equal(t, []any{DefaultName, DefaultRate, 200, DefaultKeys, ModeEnforce}, []any{z.Name, z.Rate, z.Burst, z.Keys, z.Mode})
	require.Equal(t, 200, g.get("192.0.2.1", "http://a/").Code)
}

// TestRefusal: what a client gets to see is true, and can be parsed.
func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{"zones": [{"name": "refusal", "rate": "6/m", "burst": 2}]}`)
		defer cleanup()
		require.Equal(t, []int{200, 200}, g.codes(2, "192.0.2.1", "http://a/"))
		time.Sleep(2500 * time.Millisecond)
		w := g.get("192.0.2.1", "http://a/")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.JSONEq(t, `{"error": "rate limit exceeded", "retry_after": 8}`, w.Body.String())
		require.Equal(t, "8", w.Header().Get("Retry-After"))
		require.Equal(t, strconv.Itoa(w.Body.Len()), w.Header().Get("Content-Length"))
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		for field, want := range map[string]map[string]int64{"RateLimit": {"r": 0, "t": 8}, "RateLimit-Policy": {"q": 2, "w": 20}} {
			list, err := httpsfv.UnmarshalList(w.Header().Values(field))
			require.NoError(t, err)
			require.Len(t, list, 1)
			item := list[0].(httpsfv.Item)
			require.Equal(t, "refusal", item.Value)
			for name, n := range want {
				got, _ := item.Params.Get(name)
				require.Equal(t, n, got, "%s: %s", field, name)
			}
		}
		require.Equal(t, 200, g.get("192.0.2.2", "http://a/").Code, "another client")
		time.Sleep(7500 * time.Millisecond) // the Retry-After, rounded up
		require.Equal(t, []int{200, 429}, g.codes(2, "192.0.2.1", "http://a/"))
	})
}

func TestHeadIsRefusedWithoutBody(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "head", "rate": "1/h"}]}`)
	defer cleanup()
	g.get("192.0.2.1", "http://a/")
	r := request("192.0.2.1", "http://a/")
	r.Method = http.MethodHead
	w := g.do(r)
	require.Equal(t, 429, w.Code)
	require.Empty(t, w.Body.String())
	require.NotEmpty(t, w.Header().Get("Content-Length"))
}

func TestCustomRefusal(t *testing.T) {
	g, cleanup := newRig(t, `{
		"zones": [{"name": "custom", "rate": "1/h"}], "status": 503, "ratelimit_fields": "off",
		"body": "wait {http.edge_limit.retry_after} s in {http.edge_limit.zone}: {http.edge_limit.reason}",
		"header": {"Content-Type": ["text/plain"], "X-Zone": ["{http.edge_limit.zone}"]}
	}`)
	defer cleanup()
	g.get("192.0.2.1", "http://a/")
	w := g.get("192.0.2.1", "http://a/")
	require.Equal(t, 503, w.Code)
	require.Equal(t, "wait 3600 s in custom: rate", w.Body.String())
	require.Equal(t, []string{"text/plain"}, w.Header().Values("Content-Type"))
	require.Equal(t, "custom", w.Header().Get("X-Zone"))
	require.Empty(t, w.Header().Get("RateLimit"))
	require.Equal(t, "3600", w.Header().Get("Retry-After"))
}

// TestErrorRoutes: with error routes the refusal is theirs, unless told otherwise.
func TestErrorRoutes(t *testing.T) {
	for _, tt := range []struct {
		respond string
		routes  bool
		body    bool
	}{{"", false, true}, {"", true, false}, {"auto", true, false}, {"direct", true, true}, {"error", false, false}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			g, cleanup := newRig(t, `{"zones": [{"name": "routes", "rate": "1/h"}], "respond": "`+tt.respond+`"}`)
			defer cleanup()
			if tt.routes {
				g.server.Errors = &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}
			}
			g.get("192.0.2.1", "http://a/")
			w := g.get("192.0.2.1", "http://a/")
			require.Equal(t, 429, w.Code)
			require.Equal(t, tt.body, w.Body.Len() > 0)
			require.NotEmpty(t, w.Header().Get("Retry-After"))
			require.NotEmpty(t, w.Header().Get("RateLimit"))
		})
	}
}

// TestDenialChargesNobodyElse: one zone's refusal leaves the others as they were.
func TestDenialChargesNobodyElse(t *testing.T) {
	for _, order := range []string{"narrow, wide", "wide, narrow"} {
		t.Run(order, func(t *testing.T) {
			narrow, wide := `{"name": "narrow", "rate": "1/h", "burst": 1}`, `{"name": "wide", "rate": "3/h", "burst": 3, "concurrency": 1}`
			zones := narrow + "," + wide
			if order == "wide, narrow" {
				zones = wide + "," + narrow
			}
			g, cleanup := newRig(t, `{"zones": [`+zones+`]}`)
			defer cleanup()
			require.Equal(t, []int{200, 429, 429, 429, 429}, g.codes(5, "192.0.2.1", "http://a/"))
			for _, z := range g.MiddlewareHandler.(*Limit).Zones {
				key, err := z.levels[0].keyer.fromValues([]string{"192.0.2.1"})
				require.NoError(t, err)
				v := z.tables.rates.Check(gcra.Hash(key), z.levels[0].limit, 0, gcra.Now())
				require.Equal(t, z.Burst-1, v.Remaining, z.Name)
				_, inside := z.state.inflight.Totals()
				require.Zero(t, inside)
			}
		})
	}
}

func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{"zones": [{"name": "concurrency", "concurrency": 2}]}`)
		defer cleanup()
		release := make(chan struct{})
		g.origin = func(http.ResponseWriter, *http.Request) error {
			<-release
			return errors.New("failed")
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { g.get("192.0.2.1", "http://a/") })
		}
		synctest.Wait()
		w := g.get("192.0.2.1", "http://a/")
		require.Equal(t, 429, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.JSONEq(t, `{"error": "too many concurrent requests", "retry_after": 1}`, w.Body.String())
		require.Empty(t, w.Header().Get("RateLimit"), "it is no quota over time")
		close(release)
		wg.Wait()
		require.Equal(t, 500, g.get("192.0.2.1", "http://a/").Code, "the slots are free again")
	})
}

func TestConcurrencyEndsWithAPanic(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "panic", "concurrency": 1}]}`)
	defer cleanup()
	g.origin = func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }
	for range 3 {
		require.Panics(t, func() { g.get("192.0.2.1", "http://a/") })
	}
}

func TestPenalty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{"zones": [{"name": "penalty", "rate": "1/s", "burst": 1, "penalty": "1m"}]}`)
		defer cleanup()
		require.Equal(t, []int{200, 429}, g.codes(2, "192.0.2.1", "http://a/"))
		time.Sleep(59 * time.Second)
		w := g.get("192.0.2.1", "http://a/")
		require.Equal(t, []any{429, "1"}, []any{w.Code, w.Header().Get("Retry-After")}, "trying does not prolong it")
		require.Equal(t, 200, g.get("192.0.2.2", "http://a/").Code)
		time.Sleep(time.Second + time.Millisecond)
		require.Equal(t, 200, g.get("192.0.2.1", "http://a/").Code)
	})
}

// TestWaitBeyondThePenalty: all refusals tell the same time, that when there is room
// and no penalty any more.
func TestWaitBeyondThePenalty(t *testing.T) {
	for name, limit := range map[string]string{
		"rate":   `"rate": "3/m"`,
		"count":  `"rate": "3/m", "count_status": [401]`,
		"window": `"window": "3/m"`,
		"cost":   `"rate": "6/m", "cost": "2"`,
		"outer":  `"rate": "3/m", "ipv4_outer": 24, "outer_factor": 1`,
		"longer": `"rate": "60/m", "burst": 3`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, cleanup := newRig(t, `{"zones": [{"name": "beyond-`+name+`", "penalty": "5s", `+limit+`}]}`)
				defer cleanup()
				g.origin = func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusUnauthorized); return nil }
				require.Equal(t, []int{401, 401, 401}, g.codes(3, "192.0.2.1", "http://a/"))
				var end time.Time
				for i := range 3 {
					w := g.get("192.0.2.1", "http://a/")
					require.Equal(t, 429, w.Code)
					text := w.Header().Get("Retry-After")
					wait, err := strconv.Atoi(text)
					require.NoError(t, err)
					require.True(t, strings.HasSuffix(w.Header().Get("RateLimit"), ";r=0;t="+text))
					if i == 0 {
						end = time.Now().Add(time.Duration(wait) * time.Second)
					}
					require.Equal(t, end, time.Now().Add(time.Duration(wait)*time.Second), "refusal %d", i)
					time.Sleep(time.Second)
				}
				time.Sleep(time.Until(end))
				require.Equal(t, 401, g.get("192.0.2.1", "http://a/").Code)
			})
		})
	}
}

// TestCountByStatus: only the answers that count are charged, whoever gives them.
func TestCountByStatus(t *testing.T) {
	answers := map[string]func(w http.ResponseWriter) error{
		"written":  func(w http.ResponseWriter) error { w.WriteHeader(http.StatusUnauthorized); return nil },
		"error":    func(http.ResponseWriter) error { return caddyhttp.Error(401, errors.New("no")) },
		"class":    func(w http.ResponseWriter) error { w.WriteHeader(http.StatusServiceUnavailable); return nil },
		"fine":     func(w http.ResponseWriter) error { w.WriteHeader(http.StatusNotFound); return nil },
		"implicit": func(w http.ResponseWriter) error { _, err := io.WriteString(w, "x"); return err },
		"nothing":  func(http.ResponseWriter) error { return nil },
		"early": func(w http.ResponseWriter) error {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusUnauthorized)
			return nil
		},
		"failed": func(http.ResponseWriter) error { return errors.New("no status") },
	}
	for name, want := range map[string]int{"written": 429, "error": 429, "class": 429, "fine": 404, "implicit": 200, "nothing": 200, "early": 429, "failed": 429} {
		t.Run(name, func(t *testing.T) {
			g, cleanup := newRig(t, `{"zones": [{"name": "count-`+name+`", "rate": "2/h", "count_status": [401, 5]}]}`)
			defer cleanup()
			g.origin = func(w http.ResponseWriter, _ *http.Request) error { return answers[name](w) }
			codes := g.codes(4, "192.0.2.1", "http://a/")
			require.Equal(t, want, codes[3], "%v", codes)
			require.NotEqual(t, 429, codes[1])
		})
	}
}

// TestCountDespiteAPanic: a client that hangs up in the middle of the answer has
// had the status.
func TestCountDespiteAPanic(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "count-panic", "rate": "2/h", "count_status": [401, 500]}]}`)
	defer cleanup()
	for _, code := range []int{http.StatusUnauthorized, 0} {
		g.origin = func(w http.ResponseWriter, _ *http.Request) error {
			if code != 0 {
				w.WriteHeader(code)
			}
			panic(http.ErrAbortHandler)
		}
		require.Panics(t, func() { g.get("192.0.2.1", "http://a/") })
	}
	require.Equal(t, 429, g.get("192.0.2.1", "http://a/").Code)
}

// TestCountedAtOnceIsOwed: what gets through at once is paid for later.
func TestCountedAtOnceIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{"zones": [{"name": "owed", "rate": "5/m", "count_status": [4]}]}`)
		defer cleanup()
		answer := make(chan struct{})
		g.origin = func(w http.ResponseWriter, _ *http.Request) error {
			<-answer
			w.WriteHeader(http.StatusUnauthorized)
			return nil
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { g.get("192.0.2.1", "http://a/") })
		}
		synctest.Wait()
		close(answer)
		wg.Wait()
		w := g.get("192.0.2.1", "http://a/")
		require.Equal(t, 429, w.Code)
		require.Equal(t, "552", w.Header().Get("Retry-After"), "46 minus the burst at 12 s each")
	})
}

// TestNoticesAreBounded: however many clients are refused, the log is not
// flooded, and an old acquaintance does not use up what others may have.
func TestNoticesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{"zones": [{"name": "notices", "rate": "1/h"}]}`)
		defer cleanup()
		z := g.MiddlewareHandler.(*Limit).Zones[0]
		lines := func() int {
			return noticesPerSecond - z.state.lines.Check(allNotices, noticeLimit, 0, gcra.Now()).Remaining
		}
		refuse := func(client string) { g.codes(2, client, "http://a/") }
		refuse("192.0.2.1")
		require.Equal(t, 1, lines())
		for range 100 {
			refuse("192.0.2.1")
		}
		require.Equal(t, 1, lines(), "told already")
		for i := range 20_000 {
			refuse(fmt.Sprintf("10.0.%d.%d", i/250, i%250))
		}
		require.Equal(t, noticesPerSecond, lines())
		time.Sleep(DefaultNotice)
		for range 100 {
			refuse("192.0.2.1")
		}
		require.Equal(t, 1, lines(), "told again after a while")
	})
}

func TestCost(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "cost", "rate": "10/h", "cost": "4"}]}`)
	defer cleanup()
	require.Equal(t, []int{200, 200, 429}, g.codes(3, "192.0.2.1", "http://a/"))
	g, cleanup2 := newRig(t, `{"zones": [{"name": "cost-of-header", "rate": "10/h", "cost": "{http.request.header.X-Cost}"}]}`)
	defer cleanup2()
	for i, tt := range []struct {
		cost string
		want []int
	}{
		{"5", []int{200, 200, 429}}, {"10", []int{200, 429}}, {"1000", []int{200, 429}}, {"-3", repeat(200, 10, 429)}, {"x", repeat(200, 10, 429)},
		{"0", repeat(200, 10, 429)}, {"", repeat(200, 10, 429)},
		{"99999999999999999999", []int{200, 429}}, {"-99999999999999999999", repeat(200, 10, 429)},
	} {
		client := fmt.Sprintf("192.0.2.%d", i+1)
		require.Equal(t, tt.want, g.codes(len(tt.want), client, "http://a/", "X-Cost: "+tt.cost), "cost %q", tt.cost)
	}
}

func repeat(code, n, last int) (codes []int) {
	for range n {
		codes = append(codes, code)
	}
	return append(codes, last)
}

func TestExempt(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "exempt", "rate": "1/h", "exempt": ["10.0.0.0/8", "192.0.2.9", "2001:db8::/32"],
		"exempt_match": [{"path": ["/healthz"]}], "match": [{"path": ["/limited*", "/healthz"]}]}]}`)
	defer cleanup()
	for _, client := range []string{"10.1.2.3", "192.0.2.9", "2001:db8::1", "::ffff:10.1.2.3"} {
		require.Equal(t, []int{200, 200}, g.codes(2, client, "http://a/limited"), client)
	}
	require.Equal(t, []int{200, 200}, g.codes(2, "192.0.2.1", "http://a/healthz"))
	require.Equal(t, []int{200, 200}, g.codes(2, "192.0.2.1", "http://a/other"))
	require.Equal(t, []int{200, 429}, g.codes(2, "192.0.2.1", "http://a/limited"))
}

func TestShadowAndOff(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [
		{"name": "shadow", "rate": "1/h", "mode": "shadow", "concurrency": 1, "penalty": "1h"},
		{"name": "shadow-alone", "rate": "1/h", "match": [{"path": ["/alone"]}]}, {"name": "off", "rate": "1/h", "mode": "off"}], "mode": "shadow"}`)
	defer cleanup()
	require.Equal(t, []int{200, 200, 200}, g.codes(3, "192.0.2.1", "http://a/"))
	require.Equal(t, []int{200, 200, 200}, g.codes(3, "192.0.2.1", "http://a/alone"))
	zones := g.MiddlewareHandler.(*Limit).Zones
	require.Equal(t, uint64(5), value(zones[0].metrics.shadow))
	require.Equal(t, uint64(1), value(zones[0].metrics.allowed))
	require.Equal(t, uint64(2), value(zones[1].metrics.shadow))
	require.Zero(t, value(zones[0].metrics.denied))
	require.Zero(t, value(zones[2].metrics.allowed))
}

func TestOuterLevel(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "outer", "rate": "2/h", "ipv6_prefix": 64, "ipv6_outer": 48, "outer_factor": 2}]}`)
	defer cleanup()
	require.Equal(t, []int{200, 200, 429}, g.codes(3, "2001:db8:0:1::1", "http://a/"))
	require.Equal(t, []int{429}, g.codes(1, "2001:db8:0:1::2", "http://a/"), "the same /64")
	require.Equal(t, []int{200, 200, 429}, g.codes(3, "2001:db8:0:2::1", "http://a/"))
	require.Equal(t, []int{429}, g.codes(1, "2001:db8:0:3::1", "http://a/"), "the /48 has used its share")
	require.Equal(t, []int{200}, g.codes(1, "2001:db8:1:3::1", "http://a/"))
	require.Equal(t, []int{200, 200, 429}, g.codes(3, "192.0.2.1", "http://a/"), "no second level for IPv4")
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, cleanup := newRig(t, `{"zones": [{"name": "window", "window": "3/1m"}], "ratelimit_fields": "always"}`)
		defer cleanup()
		require.Equal(t, `"window";r=2;t=`, g.get("192.0.2.1", "http://a/").Header().Get("RateLimit")[:len(`"window";r=2;t=`)])
		require.Equal(t, []int{200, 200, 429}, g.codes(3, "192.0.2.1", "http://a/"))
		time.Sleep(2 * time.Minute)
		require.Equal(t, []int{200, 200, 200, 429}, g.codes(4, "192.0.2.1", "http://a/"))
	})
}

func TestBadConfigs(t *testing.T) {
	for config, want := range map[string]string{
		`{"zones": [{"name": "a", "rate": "0/s"}]}`:                                       `invalid rate "0/s"`,
		`{"zones": [{"name": "a"}]}`:                                                      "edge_limit: zone a: limits nothing",
		`{"zones": [{"name": "a b", "rate": "1/s"}]}`:                                     "edge_limit: zone a b: name: invalid value",
		`{"zones": [{"name": "a", "rate": "1/s"}, {"name": "a", "rate": "2/s"}]}`:         "edge_limit: zone a: there are two zones",
		`{"zones": [{"rate": "1/s"}, {"rate": "2/s"}]}`:                                   "edge_limit: zone default: there are two zones",
		`{"zones": [{"name": "a", "rate": "1/s", "burst": -1}]}`:                          "burst: invalid value -1",
		`{"zones": [{"name": "a", "concurrency": 1, "burst": 1}]}`:                        "burst: 1: needs a rate",
		`{"zones": [{"name": "a", "rate": "1/s", "window": "1/s"}]}`:                      "rate 1/s and window 1/s exclude each other",
		`{"zones": [{"name": "a", "window": "70000/s"}]}`:                                 "edge_limit: zone a: window 70000/s: ",
		`{"zones": [{"name": "a", "rate": "9000000/s"}]}`:                                 `edge_limit: zone a: rate: invalid value "9000000/s": must be at most 1000000 per second`,
		`{"zones": [{"name": "a", "rate": "1/s", "concurrency": -1}]}`:                    "concurrency: invalid value -1",
		`{"zones": [{"name": "a", "window": "5/1000d"}]}`:                                 `edge_limit: zone a: window: invalid value "5/1000d": must be at most 208 days long`,
		`{"zones": [{"name": "a", "rate": "1/s", "penalty": -1}]}`:                        "penalty: ",
		`{"zones": [{"name": "a", "concurrency": 1, "penalty": "1h"}]}`:                   "penalty: 1h0m0s: needs a rate or a window",
		`{"zones": [{"name": "a", "rate": "1/s", "keys": 1}]}`:                            "keys: invalid value 1",
		`{"zones": [{"name": "a", "rate": "1/s", "count_status": [7]}]}`:                  "count: invalid status 7",
		`{"zones": [{"name": "a", "concurrency": 1, "count_status": [401]}]}`:             "count: [401]: needs a rate",
		`{"zones": [{"name": "a", "rate": "1/s", "cost": "0"}]}`:                          `cost: invalid value "0"`,
		`{"zones": [{"name": "a", "rate": "1/s", "cost": "3"}]}`:                          "cost: 3 is more than the 2",
		`{"zones": [{"name": "a", "rate": "1/s", "cost": "{nothing}"}]}`:                  "cost: unknown placeholder {nothing}",
		`{"zones": [{"name": "a", "rate": "1/s", "key": "{http.request.uri.path"}]}`:      "key: ",
		`{"zones": [{"name": "a", "rate": "1/s", "key": "{client_ip}"}]}`:                 "key: unknown placeholder {client_ip}",
		`{"zones": [{"name": "a", "rate": "1/s", "ipv4_prefix": 33}]}`:                    "ipv4_prefix: invalid value 33",
		`{"zones": [{"name": "a", "rate": "1/s", "ipv6_outer": 64}]}`:                     "ipv6_prefix: invalid second level 64",
		`{"zones": [{"name": "a", "concurrency": 1, "ipv6_outer": 48}]}`:                  "ipv6_prefix: second level 48: needs a rate",
		`{"zones": [{"name": "a", "rate": "1/s", "key": "x", "ipv6_outer": 48}]}`:         "has no address",
		`{"zones": [{"name": "a", "rate": "1/s", "exempt": ["10.0.0.0/99"]}]}`:            `exempt: invalid address or CIDR "10.0.0.0/99"`,
		`{"zones": [{"name": "a", "rate": "1/s", "exempt": ["::ffff:10.0.0.0/104"]}]}`:    "write IPv4 addresses as such",
		`{"zones": [{"name": "a", "rate": "1/s", "mode": "on"}]}`:                         `mode: unknown value "on"`,
		`{"header": {"a b": ["c"]}}`:                                                      `edge_limit: header: invalid field name "a b"`,
		`{"header": {"A": ["b\nc"]}}`:                                                     `edge_limit: header: A: invalid value "b\nc"`,
		`{"mode": "on"}`:                                                                  `edge_limit: mode: unknown value "on"`,
		`{"status": 200}`:                                                                 "edge_limit: status: invalid value 200",
		`{"ratelimit_fields": "on"}`:                                                      `edge_limit: ratelimit_fields: unknown value "on"`,
		`{"respond": "on"}`:                                                               `edge_limit: respond: unknown value "on"`,
		`{"notice": -1}`:                                                                  "edge_limit: notice: ",
		`{"rules": "/does/not/exist.yaml"}`:                                               "edge_limit: rules: open /does/not/exist.yaml",
		`{"zones": [{"name": "a", "rate": "1/s", "cluster": true}]}`:                      "cluster: needs the option redis",
		`{"zones": [{"name": "b", "window": "1/s", "cluster": true}]}`:                    "cluster: needs a rate",
		`{"zones": [{"name": "d", "rate": "1/s", "on_demand": true, "concurrency": 1}]}`:  "on_demand excludes concurrency",
		`{"zones": [{"name": "c", "rate": "1/s", "cluster": true, "count_status": [4]}]}`: "cluster: can't be together with count",
	} {
		_, _, err := provision("http.handlers.edge_limit", config)
		require.ErrorContains(t, err, want, config)
		if _, ok := pool.Peek("a"); ok {
			t.Fatalf("%s: the zone's state is left behind", config)
		}
	}
}

// TestRefusedOften: a refusal allocates the memory of its fields once.
func TestRefusedOften(t *testing.T) {
	for _, zone := range []string{`"name": "often", "rate": "1/m"`, `"name": "often-penalty", "rate": "1/m", "penalty": "5s"`} {
		g, cleanup := newRig(t, `{"zones": [{`+zone+`}]}`)
		defer cleanup()
		g.get("192.0.2.1", "http://a/")
		l, r, w := prepared(g, "192.0.2.1")
		refused := testing.AllocsPerRun(200, func() {
			clear(w.Header())
			if err := l.ServeHTTP(w, r, nil); err != nil {
				t.Fatal(err)
			}
		})
		require.LessOrEqual(t, refused, 1.0, "the memory of the fields: %s", zone)
	}
}

func TestAllowedAllocatesNothing(t *testing.T) {
	g, cleanup := newRig(t, `{"zones": [{"name": "nothing", "rate": "1000000/s"}]}`)
	defer cleanup()
	l, r, w := prepared(g, "192.0.2.1")
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	allocs := testing.AllocsPerRun(200, func() {
		if err := l.ServeHTTP(w, r, next); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
}

// TestZonesOfRules: an imported file limits what its rules say.
func TestZonesOfRules(t *testing.T) {
	g, cleanup := newRig(t, `{"rules": "testdata/rules.yaml"}`)
	defer cleanup()
	l := g.MiddlewareHandler.(*Limit)
	require.Len(t, l.Zones, 3, "one is turned off, and there is no default zone beside")
	require.Equal(t, []int{200, 200, 429}, g.codes(3, "192.0.2.1", "http://a/api/x"))
	require.Equal(t, []int{200, 200}, g.codes(2, "192.0.2.1", "http://a/apis"), "/api is no prefix of it")
	require.Equal(t, []int{200, 429}, g.codes(2, "192.0.2.2", "http://a/auth/login"))
	require.Equal(t, []int{200, 429}, g.codes(2, "192.0.2.2", "http://a/auth/other"))
	require.Equal(t, []int{200, 200, 429}, g.codes(3, "192.0.2.3", "http://a/keyed", "X-Api-Key: k"))
	require.Equal(t, []int{429}, g.codes(1, "192.0.2.4", "http://a/keyed", "X-Api-Key: k"))
	require.Equal(t, []int{200, 200, 200}, g.codes(3, "192.0.2.2", "http://a/auth/healthz"))
	require.Equal(t, []int{200, 200, 200}, g.codes(3, "127.0.0.1", "http://a/auth/login"))
}
