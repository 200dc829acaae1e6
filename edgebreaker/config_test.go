package edgebreaker

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/api"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestCaddyfileErrors: what makes no sense is refused when it is loaded, naming
// directive, option and value.
func TestCaddyfileErrors(t *testing.T) {
	g := newRig(t)
	for _, test := range []struct{ option, want string }{
		{"failures 0", `edge_breaker: failures: invalid number "0": must be from 1 to 1000000, or off`},
		{"failures off", "edge_breaker: failures: off, and there is neither"},
		{"failures", "edge_breaker: failures: needs a value"},
		{"failure_ratio 1.1", `edge_breaker: failure_ratio: invalid share "1.1"`},
		{"failure_ratio 50", `edge_breaker: failure_ratio: invalid share "50": want 50% or 0.5`},
		{"failure_ratio 101", `edge_breaker: failure_ratio: invalid share "101": must be at most 100%`},
		{"failure_ratio half", `edge_breaker: failure_ratio: invalid share "half": want one such as 20% or 0.2`},
		{"failure_ratio off", `edge_breaker: failure_ratio: invalid share "off": leave it out`},
		{"failure_ratio 0", `edge_breaker: failure_ratio: invalid share "0": must be above 0 and at most 100%`},
		{"failure_ratio 50% 0", `edge_breaker: failure_ratio: invalid number "0"`},
		{"failure_ratio 50% 5 5", "edge_breaker: failure_ratio: needs 1 to 2 values"},
		{"slow_ratio 50%", "edge_breaker: slow_ratio: needs 2 to 3 values"},
		{"slow_ratio 50% 0s", `edge_breaker: slow_ratio: invalid duration "0s": must be above zero`},
		{"slow_ratio 50% 999us", `edge_breaker: slow_ratio: invalid duration "999us": must be from 1ms to 24h`},
		{"window 30s", "edge_breaker: window: without failure_ratio or slow_ratio"},
		{"window 1ms\nfailure_ratio 0.5", "edge_breaker: window must be from 1s"},
		{"failure_status 600", `edge_breaker: failure_status: invalid status "600"`},
		{"failure_status 6xx", `edge_breaker: failure_status: invalid status "6xx"`},
		{"grpc_status BAD", `edge_breaker: grpc_status: unknown result "BAD"`},
		{"grpc_status OK", `edge_breaker: grpc_status: unknown result "OK"`},
		{"successes 0", `edge_breaker: successes: invalid number "0"`},
		{"probes 0", `edge_breaker: probes: invalid number "0"`},
		{"open 10s 5s", "edge_breaker: the maximum of open must be from 10s"},
		{"open 0s", `edge_breaker: open: invalid duration "0s"`},
		{"max_ejection 101%", `edge_breaker: max_ejection: invalid share "101%"`},
		{"max_ejection 0", `edge_breaker: max_ejection: invalid share "0"`},
		{"max_ejection off", `edge_breaker: max_ejection: invalid share "off": leave it out for 50%, or set 100% for no bound`},
		{"slow_start 25% 50%", "edge_breaker: slow_start: want a duration, off, or percentages and each"},
		{"slow_start 0% each 1s", `edge_breaker: slow_start: invalid share "0%"`},
		{"slow_start 50% 25% each 1s", "edge_breaker: slow_start: 25% after 50%: each step must be above the one before; all of the share follows the last one"},
		{"slow_start 50% 50% each 1s", "edge_breaker: slow_start: 50% after 50%"},
		{"slow_start 50% each 1us", `edge_breaker: slow_start: each: invalid duration "1us": must be from 1ms to 24h`},
		{"slow_start 1us", `edge_breaker: slow_start: invalid duration "1us": must be from 1ms to 24h`},
		{"retry_budget -1%", `edge_breaker: retry_budget: invalid share "-1%"`},
		{"retry_budget 20", `edge_breaker: retry_budget: invalid share "20": want 20% or 0.2`},
		{"retry_budget 101%", `edge_breaker: retry_budget: invalid share "101%"`},
		{"retry_budget 20% x", `edge_breaker: retry_budget: invalid number "x"`},
		{"retry_methods get", `edge_breaker: retry_methods: invalid method "get"`},
		{"retry_methods any GET", "edge_breaker: retry_methods: any stands for all"},
		{"header_timeout 1s\ntimeout 500ms", "edge_breaker: header_timeout: 1s is more than timeout"},
		{"header_timeout 1m\ntimeout 500ms", "edge_breaker: header_timeout: 1m0s is more than timeout"},
		{"header_timeout 0", `edge_breaker: header_timeout: invalid duration "0": must be above zero, or off`},
		{"header_timeout 1us", `edge_breaker: header_timeout: invalid duration "1us": must be from 1ms to 24h, or off`},
		{"timeout 0s", `edge_breaker: timeout: invalid duration "0s": must be above zero, or off`},
		{"timeout -1s", `edge_breaker: timeout: invalid duration "-1s": must be above zero, or off`},
		{"timeout 25h", `edge_breaker: timeout: invalid duration "25h": must be from 1ms to 24h, or off`},
		{"concurrency 0", `edge_breaker: concurrency: invalid number "0"`},
		{"concurrency off", `edge_breaker: concurrency: invalid number "off": leave it out`},
		{"concurrency 1 x", `edge_breaker: concurrency: invalid queue "x": must be from 0 to 1000000`},
		{"concurrency 1 0 1s", "edge_breaker: concurrency: queue deadline 1s: without a queue, whose number is 0"},
		{"concurrency 1 1 1h", `edge_breaker: concurrency: queue deadline: invalid duration "1h": must be from 1ms to 1m`},
		{"status 404", `edge_breaker: status: invalid value "404": must be from 500 to 599, or 429`},
		{"status 450", `edge_breaker: status: invalid value "450": must be from 500 to 599, or 429`},
		{"status x", `edge_breaker: status: invalid value "x": must be from 500 to 599, or 429`},
		{"status 503\nfallback x", "edge_breaker: status: not with a fallback"},
		{"fallback x 99", `edge_breaker: fallback: invalid status "99"`},
		{"fallback 099", `edge_breaker: fallback: invalid status "099"`},
		{"fallback", "edge_breaker: fallback: needs a body, a status or a block"},
		{"fallback x 200 y", "edge_breaker: fallback: needs a body and at most a status"},
		{"fallback {\n@x path /x\n}", "edge_breaker: fallback: has an empty block"},
		{"fallback {\n}", "edge_breaker: fallback: has an empty block"},
		{"fallback x {\nrespond x\n}", "edge_breaker: fallback: has a block and"},
		{`name ""`, "edge_breaker: name: is empty"},
		{"name a/b", `edge_breaker: name: invalid value "a/b"`},
		{"probes 1\nprobes 2", "edge_breaker: probes: given more than once"},
		{"proves 1", `edge_breaker: unknown option "proves"`},
	} {
		require.ErrorContains(t, g.tryLoad("edge_breaker {\n"+test.option+"\n}"), test.want, test.option)
	}
	for _, test := range []struct{ policy, want string }{
		{"lb_policy edge first", `lb_policy edge: method: invalid value "first": want wrr, least_conn or p2c; weights go in the block`},
		{"lb_policy edge 1 2", `lb_policy edge: method: invalid value "1 2": want wrr, least_conn or p2c; weights go in the block`},
		{"lb_policy edge {\nweights 1\n}", "lb_policy edge: weights: there are 1 [1] for 2 upstreams"},
		{"lb_policy cookie lb {\nfallback edge {\nweights 1\n}\n}", "lb_policy edge: weights: there are 1 [1] for 2 upstreams"},
		{"lb_policy edge {\nweights 1 0\n}", `lb_policy edge: weights: invalid weight "0"`},
		{"lb_policy edge {\nweights 1 2\nweights 1 2\n}", "lb_policy edge: weights: given more than once"},
		{"lb_policy edge {\nupstreams\n}", "lb_policy edge: upstreams: needs at least one argument"},
		{"lb_policy edge {\nupstreams deny\n}", "lb_policy edge: upstreams deny: needs one kind"},
		{"lb_policy edge {\nupstreams deny martian\n}", `lb_policy edge: upstreams deny: unknown kind "martian"`},
		{"lb_policy edge {\nupstreams allow\n}", `lb_policy edge: upstreams: unknown rule "allow"`},
		{"lb_policy edge {\nupstreams allow_loopback\n}", "lb_policy edge: upstreams: allow_loopback: loopback is not denied"},
		{"lb_policy edge {\nweight 1\n}", `lb_policy edge: unknown option "weight"`},
		{"lb_policy edge {\nweights 1 2\n}\ndynamic a localhost 1", "lb_policy edge: weights: not with dynamic upstreams"},
	} {
		require.ErrorContains(t, g.tryLoad("reverse_proxy 127.0.0.1:1 127.0.0.1:2 {\n"+test.policy+"\n}"), test.want, test.policy)
	}
}

// TestJSONErrors: the same for configurations that no Caddyfile made.
func TestJSONErrors(t *testing.T) {
	for config, want := range map[string]string{
		`{"failure_min_requests":5}`:                         "failure_min_requests: without failure_ratio",
		`{"slow_latency":5}`:                                 "slow_latency and slow_min_requests: without slow_ratio",
		`{"failure_ratio":2}`:                                "failure_ratio must be above 0",
		`{"max_ejection":-1}`:                                "max_ejection: invalid share -1",
		`{"slow_start":{"off":true,"each":1}}`:               "slow_start: off, but with steps",
		`{"slow_start":{"duration":1,"each":1}}`:             "slow_start: has both",
		`{"slow_start":{"steps":[2]}}`:                       "slow_start must have steps",
		`{"slow_start":{"steps":[0.5,0.25]}}`:                "slow_start: 25% after 50%",
		`{"slow_start":{"each":1}}`:                          "slow_start: each: invalid duration 1ns: must be from 1ms to 24h",
		`{"slow_start":{"duration":-1}}`:                     "slow_start: duration: invalid duration -1ns: must be from 1ms to 24h",
		`{"window":60000000000}`:                             "window: without failure_ratio or slow_ratio",
		`{"slow_ratio":0.5,"slow_latency":1}`:                "slow_latency: invalid duration 1ns: must be from 1ms to 24h",
		`{"retry_min_per_second":-1}`:                        "retry_min_per_second: invalid number -1",
		`{"retry_budget":-1}`:                                "retry_budget must be",
		`{"retry_budget":20}`:                                "retry_budget must be from 0% to 100%, not 2000%",
		`{"queue":1}`:                                        "queue and queue_deadline: without concurrency",
		`{"concurrency":1,"queue_deadline":1}`:               "queue_deadline: without queue",
		`{"concurrency":-1}`:                                 "concurrency: invalid number -1",
		`{"queue":-1,"concurrency":1}`:                       "queue: invalid number -1: must be from 0 to 1000000",
		`{"concurrency":1,"queue":1,"queue_deadline":-1}`:    "queue_deadline: invalid duration -1ns: must be from 1ms to 1m",
		`{"status":450}`:                                     `status: invalid value "450": must be from 500 to 599, or 429`,
		`{"failure_status":[6]}`:                             "failure_status: invalid status 6",
		`{"fallback":{"status":199}}`:                        "fallback: invalid status 199",
		`{"fallback":{"body":"x","routes":[{"handle":[]}]}}`: "fallback: has routes and a body",
		`{"timeout":-2}`:                                     "timeout: invalid duration -2ns: must be from 1ms to 24h, or off (-1)",
		`{"header_timeout":1}`:                               "header_timeout: invalid duration 1ns: must be from 1ms to 24h, or off (-1)",
		`{"failures":-2}`:                                    "failures: invalid number -2: must be from 1 to 1000000, or off (-1)",
		`{"failures":-1}`:                                    "nothing would open",
		`{"filure_ratio":1}`:                                 "filure_ratio",
		`{"failure_ratio":0.5,"failure_min_requests":-1}`:    "failure_ratio needs a volume",
		`{"open":3600000000000,"max_open":1}`:                "the maximum of open",
		`{"grpc_status":["17"]}`:                             `grpc_status: unknown result "17"`,
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		_, err := ctx.LoadModuleByID("http.handlers.edge_breaker", []byte(config))
		cancel()
		require.ErrorContains(t, err, want, config)
	}
}

// TestShortForms: what an option means that has several forms, in the JSON that it
// becomes and when that is loaded.
func TestShortForms(t *testing.T) {
	for options, want := range map[string]string{
		"fallback 503":           `{"name": "default", "fallback": {"status": 503}}`,
		"fallback closed":        `{"name": "default", "fallback": {"body": "closed"}}`,
		"fallback 5030":          `{"name": "default", "fallback": {"body": "5030"}}`,
		"fallback 503 200":       `{"name": "default", "fallback": {"body": "503", "status": 200}}`,
		"header_timeout off":     `{"name": "default", "header_timeout": -1}`,
		"timeout off":            `{"name": "default", "timeout": -1}`,
		"concurrency 10 0":       `{"name": "default", "concurrency": 10}`,
		"failure_ratio 50%":      `{"name": "default", "failure_ratio": 0.5}`,
		"failure_ratio 1":        `{"name": "default", "failure_ratio": 1}`,
		"slow_start 25% each 1m": `{"name": "default", "slow_start": {"steps": [0.25], "each": 60000000000}}`,
	} {
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(":80 {\nedge_breaker {\n"+options+"\n}\n}"), nil)
		require.NoError(t, err, options)
		text := jsonOf(t, config)
		require.JSONEq(t, want, text, options)
		ctx, cancel := caddy.NewContext(reloadtest.Context())
		h, err := ctx.LoadModuleByID("http.handlers.edge_breaker", []byte(text))
		require.NoError(t, err, options)
		require.GreaterOrEqual(t, h.(*Handler).Timeout, caddy.Duration(0))
		cancel()
	}
}

// jsonOf is the first handler of the only route.
func jsonOf(t *testing.T, config []byte) string {
	t.Helper()
	var parsed struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []struct {
						Handle []json.RawMessage `json:"handle"`
					} `json:"routes"`
				} `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	require.NoError(t, json.Unmarshal(config, &parsed))
	return strings.Replace(string(parsed.Apps.HTTP.Servers["srv0"].Routes[0].Handle[0]), `"handler":"edge_breaker",`, "", 1)
}

// FuzzCaddyfile: what is accepted is the same when it was JSON in between.
func FuzzCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"failures 3", "failures off\nfailure_ratio 50% 5", "slow_ratio 0.5 1s 5", "window 1m", "failure_status 500 4xx", "grpc_status 14 INTERNAL",
		"open 1s 2s", "max_ejection 20%", "slow_start 1m", "slow_start off", "slow_start 10% 100% each 1s", "retry_budget 0 0", "retry_methods any",
		"header_timeout off", "timeout 1s", "timeout off", "concurrency 1 2 3s", "concurrency 5 0", "fallback 503", "fallback x 200", "fallback {\nrespond x\n}", "name x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, options string) {
		if strings.ContainsAny(options, "{$") && !strings.HasPrefix(options, "fallback {\nrespond") || strings.Contains(options, "import") {
			return // other directives' business
		}
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(":80 {\nedge_breaker {\n"+options+"\n}\n}"), nil)
		if err != nil {
			return
		}
		h, text := new(Handler), jsonOf(t, config)
		require.NoError(t, caddy.StrictUnmarshalJSON([]byte(text), h))
		require.JSONEq(t, text, toJSON(t, h))
	})
}

func call(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	name, _, _ := strings.Cut(path, "?")
	err := api.Handler(name).ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if err != nil {
		var fault caddy.APIError
		require.ErrorAs(t, err, &fault)
		return fault.HTTPStatus, err.Error()
	}
	return w.Code, w.Body.String()
}

func TestAdmin(t *testing.T) {
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("failures 2", "lb_policy edge {\nweights 1 3\n}", a.address, b.address))
	code, text := call(t, "GET", "/edge/breaker/backends", "")
	require.Equal(t, 200, code)
	var list struct{ Backends []backendReply }
	require.NoError(t, json.Unmarshal([]byte(text), &list))
	require.Len(t, list.Backends, 2, "before there are requests")
	require.Equal(t, 200, g.get("/").status)

	code, text = call(t, "POST", "/edge/breaker/force", `{"address":"`+b.address+`","mode":"open"}`)
	require.Equal(t, 200, code, text)
	asked := b.asked.Load()
	for range 8 {
		require.Equal(t, 200, g.get("/").status)
	}
	require.Equal(t, asked, b.asked.Load())
	code, text = call(t, "GET", "/edge/breaker/backend?address="+b.address, "")
	require.Equal(t, 200, code)
	var one backendReply
	require.NoError(t, json.Unmarshal([]byte(text), &one))
	require.Equal(t, "open", one.State)
	require.Equal(t, "open", one.Mode)
	require.Equal(t, []proxyReply{{"srv0: routes/0/handle/0/routes/0/handle/1 (host edge)", "wrr", 3, 0, true, false}}, one.Proxies)

	require.NoError(t, g.tryLoad(pool("failures 3", "lb_policy edge", a.address, b.address)))
	require.Equal(t, breaker.ForceOpen, backend(t, b.address).Mode(), "it survives a reload")
	code, text = call(t, "POST", "/edge/breaker/force", `{"address":"`+b.address+`","mode":"auto"}`)
	require.Equal(t, 200, code, text)
	require.Contains(t, text, `"state":"half_open"`)
	code, text = call(t, "POST", "/edge/breaker/force", `{"address":"`+b.address+`","mode":"closed"}`)
	require.Equal(t, 200, code, text)
	require.Contains(t, text, `"state":"closed"`)

	for _, test := range []struct {
		method, path, body, want string
		code                     int
	}{
		{"GET", "/edge/breaker/backend", "", "address: is missing", 400},
		{"GET", "/edge/breaker/backend?address=10.9.9.9:1", "", `there is no backend "10.9.9.9:1"`, 404},
		{"POST", "/edge/breaker/force", `{"address":"` + b.address + `","mode":"shut"}`, `mode: invalid value "shut"`, 400},
		{"POST", "/edge/breaker/force", `{"address":"10.9.9.9:1","mode":"open"}`, "there is no backend", 404},
		{"POST", "/edge/breaker/force", `{"addr":"x"}`, "addr", 400},
	} {
		code, text := call(t, test.method, test.path, test.body)
		require.Equal(t, test.code, code, text)
		require.Contains(t, text, test.want)
	}
}

// TestProxiesAreNamed: two proxies that share a backend are told apart, also after a
// reload that leaves one.
func TestProxiesAreNamed(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	proxies := func() (names []string) {
		_, text := call(t, "GET", "/edge/breaker/backend?address="+a.address, "")
		var b backendReply
		require.NoError(t, json.Unmarshal([]byte(text), &b))
		for _, p := range b.Proxies {
			names = append(names, p.Proxy)
		}
		return names
	}
	one, other := "handle_path /one/* {\n"+pool("", "lb_policy edge", a.address)+"\n}\n", "handle_path /other/* {\n"+pool("", "lb_policy edge", a.address)+"\n}\n"
	g.load(one + other)
	names := proxies()
	require.Len(t, names, 2)
	for i, path := range []string{"/other/*", "/one/*"} { // Caddy puts the longer path in front
		require.True(t, strings.HasPrefix(names[i], "srv0: routes/"), names[i])
		require.Contains(t, names[i], "path "+path)
	}
	g.load(other)
	require.Len(t, proxies(), 1)
	require.Contains(t, proxies()[0], "path /other/*")
}

// TestModeAlone: an order that leaves the state as it is tells of no change of it.
func TestModeAlone(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.log = filepath.Join(g.dir, "log")
	g.load(site("", a.address, ""))
	order := func(mode string) {
		code, text := call(t, "POST", "/edge/breaker/force", `{"address":"`+a.address+`","mode":"`+mode+`"}`)
		require.Equal(t, 200, code, text)
	}
	order("closed")
	order("auto")
	require.Contains(t, g.logged(), "forced a backend")
	require.NotContains(t, g.logged(), "backend closed")
	order("open")
	require.Contains(t, g.logged(), "backend open")
	order("auto")
	order("closed")
	require.Contains(t, g.logged(), "backend closed")
	order("auto")
	require.Equal(t, 1, strings.Count(g.logged(), `"backend closed"`))
}

// TestReloads: neither a reload nor a rejected one changes what is known of the
// backends, whatever goes on.
func TestReloads(t *testing.T) {
	a, bad := newOrigin(t, "a"), newOrigin(t, "bad")
	bad.status(500, "")
	g := newRig(t)
	config := pool("failures 1", "lb_policy edge\nlb_retries 2\n"+retryStatus, a.address, bad.address)
	g.load(config)
	g.codes(4)
	requireState(t, bad.address, breaker.Open)
	until := backend(t, bad.address).Status(time.Now()).OpenUntil
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = g.get("/") // a listener that is being replaced may drop it
				}
			}
		})
	}
	for i := range 10 {
		if i%2 == 0 {
			require.ErrorContains(t, g.tryLoad(pool("", "lb_policy edge {\nweights 1\n}", a.address, bad.address)), "weights")
		} else {
			g.load(config)
		}
	}
	close(stop)
	wg.Wait()
	requireState(t, bad.address, breaker.Open)
	require.WithinDuration(t, until, backend(t, bad.address).Status(time.Now()).OpenUntil, time.Millisecond)
	eventually(t, func() bool { return backend(t, a.address).Active() == 0 })
	require.Equal(t, http.StatusOK, g.get("/").status)
}
