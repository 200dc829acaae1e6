package edgebreaker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEmptyPlaceholders: what the documentation says about placeholders that are
// unset, and how map makes them empty from anywhere in front.
func TestEmptyPlaceholders(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	g.load("map {http.edge_breaker.backend} {backend} {\n~.+ \"${0}\"\ndefault \"\"\n}\nheader >X-Backend \"[{backend}]\"\nheader >X-Raw \"[{http.edge_breaker.backend}]\"\n" +
		site("failures 1", a.address, ""))
	got := g.get("/")
	require.Equal(t, []string{"[" + a.address + "]", "[" + a.address + "]"}, []string{got.header.Get("X-Backend"), got.header.Get("X-Raw")})
	a.status(500, "")
	require.Equal(t, 500, g.get("/").status)
	got = g.get("/")
	require.Equal(t, 503, got.status)
	require.Equal(t, []string{"[]", "[{http.edge_breaker.backend}]"}, []string{got.header.Get("X-Backend"), got.header.Get("X-Raw")})
}
