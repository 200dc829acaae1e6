package edgebreaker

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

func TestOpensAndRefuses(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load("edge_breaker\nreverse_proxy " + a.address + " {\n\tlb_policy edge\n}")
	require.Equal(t, []int{200, 200}, g.codes(2))
	a.status(500, "oh")
	require.Equal(t, []int{500, 500, 500, 500, 500, 503, 503}, g.codes(7))
	require.EqualValues(t, 7, a.asked.Load())
	requireState(t, a.address, breaker.Open)
	r := g.get("/")
	require.Equal(t, 503, r.status)
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Regexp(t, `^(30|31|32|33)$`, r.header.Get("Retry-After"))
	require.JSONEq(t, `{"error":"backend unavailable","retry_after":`+r.header.Get("Retry-After")+`}`, r.body)
}

func TestRetriesGoElsewhere(t *testing.T) {
	a, b, dead := newOrigin(t, "a"), newOrigin(t, "b"), deadAddress(t)
	g := newRig(t)
	g.load("edge_breaker {\n\tretry_budget 100%\n}\nreverse_proxy " + a.address + " " + dead + " " + b.address + " {\n\tlb_policy edge\n\tlb_retries 2\n\tlb_retry_match {\n\t\texpression `{rp.status_code} == 500`\n\t}\n}")
	a.status(500, "oh")
	codes := g.codes(30)
	require.Equal(t, slices.Repeat([]int{200}, 30), codes)
	requireState(t, a.address, breaker.Open)
}
