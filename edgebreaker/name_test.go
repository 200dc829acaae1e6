package edgebreaker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// TestNameOfARoute: who shares the state of a route has the same rules for it.
func TestNameOfARoute(t *testing.T) {
	a := newOrigin(t, "a")
	a.status(500, "")
	g := newRig(t)
	sites := func(proxy, first, second string) string {
		return "handle /a* {\nedge_breaker {\n" + first + "\n}\n" + proxy + "\n}\nhandle {\nedge_breaker {\n" + second + "\n}\n" + proxy + "\n}"
	}
	plain := "reverse_proxy " + a.address
	require.ErrorContains(t, g.tryLoad(sites(plain, "name pair\nfailures 2", "name pair\nprobes 2")),
		`edge_breaker: name pair: defined twice, as {"failures":2} and as {"probes":2}`)
	require.NoError(t, g.tryLoad(sites(plain, "name pair\nfailures 2", "name other\nfailures 3")))
	require.NoError(t, g.tryLoad(sites(plain+" {\nlb_policy edge\n}", "name pair\nfailures 2", "name pair\nfailures 3")), "each backend is its own there")
	g.load(sites(plain, "name pair\nfailures 2\nstatus 429", "name pair\nfailures 2\nfallback sorry 599"))
	require.Equal(t, 500, g.get("/a").status)
	require.Equal(t, 500, g.get("/").status)
	requireState(t, routeAddress("pair"), breaker.Open)
	require.Equal(t, 429, g.get("/a").status)
	require.Equal(t, 599, g.get("/").status)
	require.NoError(t, g.tryLoad(sites(plain, "name pair\nfailures 4", "name pair\nfailures 4")), "another configuration may define it differently")
}

// TestNamesOfACaddyfile: one without a name shares its state with nobody.
func TestNamesOfACaddyfile(t *testing.T) {
	g := newRig(t)
	for _, test := range []struct{ first, second, want string }{
		{"", "", ""},
		{"name shop", "name shop", ""},
		{"name default", "name default", ""},
		{"", "name default-2", ""},
		{"", "name default", `edge_breaker: name: "default" is given to one, and is what another without a name gets`},
		{"name default", "", `edge_breaker: name: "default" is given to one`},
	} {
		_, err := g.adapt("handle /a {\nedge_breaker {\n" + test.first + "\n}\n}\nhandle {\nedge_breaker {\n" + test.second + "\n}\n}")
		if test.want == "" {
			require.NoError(t, err, test)
		} else {
			require.ErrorContains(t, err, test.want, test)
		}
	}
	config, err := g.adapt("handle /a {\nedge_breaker\n}\nhandle /b {\nedge_breaker\n}\nedge_breaker")
	require.NoError(t, err)
	for _, name := range []string{"default", "default-2", "default-3"} {
		require.Equal(t, 1, strings.Count(config, `"name":"`+name+`"`))
	}
}
