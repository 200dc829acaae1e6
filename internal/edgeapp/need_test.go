package edgeapp_test

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

func init() {
	caddy.RegisterModule(fakeLimit{})
	caddy.RegisterModule(fakeNeed{})
}

// fakeLimit offers its zones as edge_limit does.
type fakeLimit struct {
	Zones []struct {
		Name     string `json:"name"`
		OnDemand bool   `json:"on_demand"`
	} `json:"zones"`
	Rules string `json:"rules"`
}

func (fakeLimit) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_limit", New: func() caddy.Module { return new(fakeLimit) }}
}

func (l *fakeLimit) Provision(ctx caddy.Context) error {
	app, err := edgeapp.From(ctx)
	for _, z := range l.Zones {
		if z.OnDemand {
			app.Offer(edgeapp.DemandZone, z.Name)
		}
	}
	return err
}

func (*fakeLimit) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// fakeNeed needs a zone.
type fakeNeed struct {
	Zone string `json:"zone"`
}

func (fakeNeed) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.fake_need", New: func() caddy.Module { return new(fakeNeed) }}
}

func (n *fakeNeed) Provision(ctx caddy.Context) error {
	app, err := edgeapp.From(ctx)
	if err != nil {
		return err
	}
	return app.Need(ctx, edgeapp.DemandZone, n.Zone, "fake")
}

func (*fakeNeed) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// TestNeedsAreFoundByValidation: wherever what offers it is, a need is no error; one that
// nothing can offer is one without starting anything.
func TestNeedsAreFoundByValidation(t *testing.T) {
	const need = `{"handler": "fake_need", "zone": "login"}`
	zone := func(name string, onDemand string) string {
		return `{"handler": "edge_limit", "zones": [{"name": "` + name + `", "on_demand": ` + onDemand + `}]}`
	}
	subroute := func(inner string) string { return `{"handler": "subroute", "routes": [{"handle": [` + inner + `]}]}` }
	route := func(handlers string) string { return `{"handle": [` + handlers + `]}` }
	server := func(routes string) string { return `"routes": [` + routes + `]` }
	for _, test := range []struct {
		name, server string
		ok           bool
	}{
		{"in front", server(route(zone("login", "true") + "," + need)), true},
		{"behind", server(route(need) + "," + route(zone("login", "true"))), true},
		{"deep in another route", server(route(need) + "," + route(subroute(subroute(zone("login", "true"))))), true},
		{"in error routes", server(route(need)) + `, "errors": {` + server(route(zone("login", "true"))) + `}`, true},
		{"in a named route", server(route(need)) + `, "named_routes": {"x": ` + route(zone("login", "true")) + `}`, true},
		{"nowhere", server(route(need)), false},
		{"nowhere, deep", server(route(subroute(need)) + "," + route(subroute(zone("other", "true")))), false},
		{"not on demand", server(route(zone("login", "false") + "," + need)), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var config *caddy.Config
			text := `{"admin": {"disabled": true}, "apps": {"http": {"servers": {"s": {"listen": ["127.0.0.1:0"], ` + test.server + `}}}}}`
			require.NoError(t, caddy.StrictUnmarshalJSON([]byte(text), &config))
			err := caddy.Validate(config)
			if test.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, `fake: there is no zone of edge_limit with on_demand named "login"`)
		})
	}
}

// TestNeedsOfRuleFiles: a file may offer what is needed, which shows at the start.
func TestNeedsOfRuleFiles(t *testing.T) {
	var config *caddy.Config
	text := `{"admin": {"disabled": true}, "apps": {"http": {"servers": {"s": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [
		{"handler": "fake_need", "zone": "login"}, {"handler": "edge_limit", "rules": "x.yaml"}]}]}}}}}`
	require.NoError(t, caddy.StrictUnmarshalJSON([]byte(text), &config))
	require.NoError(t, caddy.Validate(config))
}
