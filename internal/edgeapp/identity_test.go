package edgeapp

import (
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// TestIdentity: matchers are named as in configs, and what differs has another
// identity.
func TestIdentity(t *testing.T) {
	a, b := &caddyhttp.MatchHeader{"X-A": {"1"}}, &caddyhttp.MatchHeader{"X-B": {"1"}}
	not := func(sets ...caddyhttp.MatcherSet) *caddyhttp.MatchNot { return &caddyhttp.MatchNot{MatcherSets: sets} }
	for want, sets := range map[string]caddyhttp.MatcherSets{
		`header {"X-A":["1"]}`:                                  {{a}},
		`(header {"X-A":["1"]} and header {"X-B":["1"]})`:       {{b, a}},
		`header {"X-A":["1"]} or header {"X-B":["1"]}`:          {{a}, {b}},
		`not (header {"X-A":["1"]}) or header {"X-B":["1"]}`:    {{not(caddyhttp.MatcherSet{a})}, {b}},
		`not (header {"X-A":["1"]} or header {"X-B":["1"]})`:    {{not(caddyhttp.MatcherSet{a}, caddyhttp.MatcherSet{b})}},
		`not ((header {"X-A":["1"]} and header {"X-B":["1"]}))`: {{not(caddyhttp.MatcherSet{a, b})}},
		`()`: {{}},
	} {
		require.Equal(t, want, matchersIdentity(sets))
	}
}
