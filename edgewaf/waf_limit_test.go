package edgewaf

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// fakeLimiter is a limiter with one zone.
type fakeLimiter struct {
	left    int
	charged int
}

func (l *fakeLimiter) Charge(w http.ResponseWriter, _ *http.Request, zone string) (found, refused bool, err error) {
	if zone != "odd" {
		return false, false, nil
	}
	l.charged++
	if l.left--; l.left < 0 {
		w.WriteHeader(http.StatusTooManyRequests)
		return true, true, nil
	}
	return true, false, nil
}

// limiting is a pack that limits odd requests, and keeps the cache out of others.
const limiting = `
mode: enforce
rules:
  - {id: odd, match: {any: [{path_regex: '^/odd'}]}, action: {type: limit, zone: odd}}
  - {id: elsewhere, match: {any: [{path_regex: '^/elsewhere'}]}, action: {type: limit, zone: elsewhere}}
  - {id: fresh, match: {any: [{path_regex: '^/fresh'}]}, action: {type: bypass_cache}}
`

func TestLimitByRules(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "crs": {"off": true}, "packs": ["`+file(t, "pack.yaml", []byte(limiting))+`"]`)
	limiter := &fakeLimiter{left: 2}
	ask := func(target string) (int, *http.Request) {
		r := browse("GET", target, "")
		var seen *http.Request
		g.origin = func(_ http.ResponseWriter, r *http.Request) error { seen = r; return nil }
		w := g.doWith(r, func(r *http.Request) { reqinfo.AddCharger(r, limiter) })
		return w.Code, seen
	}
	for i, want := range []int{200, 200, 429} {
		code, seen := ask("/odd")
		require.Equal(t, want, code, i)
		require.Equal(t, want == 200, seen != nil)
	}
	require.Equal(t, 3, limiter.charged)
	e := g.state.latest(1, nil)[0]
	require.Equal(t, actLimit, e.Action)
	require.Equal(t, "odd", e.Rule)
	require.EqualValues(t, 1, g.state.counts[outcomeLimited].Load())
	code, _ := ask("/")
	require.Equal(t, 200, code)
	require.Equal(t, 3, limiter.charged, "only what the rule finds is charged")
	core, logs := observer.New(zap.ErrorLevel)
	g.logger, g.LogRate = zap.New(core), 3
	synctest.Test(t, func(t *testing.T) { // in one second
		for range 10 {
			code, _ := ask("/elsewhere")
			require.Equal(t, 200, code, "no zone in front has the name")
		}
	})
	require.Equal(t, 3, logs.FilterMessageSnippet("by a zone that no edge_limit in front has").Len(), "not a line for each request")
	require.EqualValues(t, 7, g.state.dropped.Load())
}

func TestBypassOfTheCacheByRules(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "crs": {"off": true}, "packs": ["`+file(t, "pack.yaml", []byte(limiting))+`"]`)
	for target, want := range map[string]bool{"/fresh": true, "/": false} {
		g.origin = func(_ http.ResponseWriter, r *http.Request) error {
			rule, ok := reqinfo.Peek(r).Get(reqinfo.BypassCache)
			if ok != want || ok && rule != "fresh" {
				return caddyhttp.Error(http.StatusTeapot, fmt.Errorf("got %v %q", ok, rule))
			}
			return nil
		}
		w := g.do(browse("GET", target, ""))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
	}
}

// TestZoneOfARuleMustBeThere: validating a config finds that it is not, as does loading it.
func TestZoneOfARuleMustBeThere(t *testing.T) {
	pack := file(t, "pack.yaml", []byte(limiting))
	want := "edge_waf operated: rules: " + pack + `:4: rule odd: zone: there is no zone of edge_limit with on_demand named "odd"`
	config := wafConfig(`"crs": {"off": true}, "packs": ["`+pack+`"]`, "")
	require.ErrorContains(t, reloadtest.Load(t, config), want)
	var parsed *caddy.Config
	require.NoError(t, caddy.StrictUnmarshalJSON([]byte(config), &parsed))
	parsed.Admin = &caddy.AdminConfig{Disabled: true}
	require.ErrorContains(t, caddy.Validate(parsed), want)
}
