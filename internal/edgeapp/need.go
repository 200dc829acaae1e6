package edgeapp

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// DemandZone is the kind of what edge_limit offers to rules that limit.
const DemandZone = "zone of edge_limit with on_demand"

// need is what somebody needs.
type need struct{ kind, name, by string }

// Offer notes that there is something of a kind by that name, which handlers elsewhere in
// the config may need. Features call it in Provision.
func (a *App) Offer(kind, name string) {
	if a.offers == nil {
		a.offers = make(map[string]bool)
	}
	a.offers[kind+" "+name] = true
}

// Need notes that somebody needs something of a kind by that name. When nobody has
// offered it the config is rejected: at once if no handler that is yet to come can offer
// it, so that validating a config, which starts nothing, finds it; else when the config
// starts. Features call it in Provision; by names directive, option and rule.
func (a *App) Need(ctx caddy.Context, kind, name, by string) error {
	n := need{kind, name, by}
	if !a.offers[kind+" "+name] && !mayCome(ctx, n) {
		return n.missing()
	}
	a.needs = append(a.needs, n)
	return nil
}

func (n need) missing() error { return fmt.Errorf("%s: there is no %s named %q", n.by, n.kind, n.name) }

// checkNeeds looks for what is needed and not there.
func (a *App) checkNeeds() error {
	for _, n := range a.needs {
		if !a.offers[n.kind+" "+n.name] {
			return n.missing()
		}
	}
	return nil
}

// mayCome reports whether a handler that is not provisioned yet may offer something. Caddy
// takes the JSON of handlers away when all handlers of a route are provisioned.
func mayCome(ctx caddy.Context, n need) bool {
	known := false
	for _, module := range ctx.Modules() {
		app, ok := module.(*caddyhttp.App)
		if !ok {
			continue
		}
		known = true
		for _, server := range app.Servers {
			if mayOffer(server.Routes, n) || server.Errors != nil && mayOffer(server.Errors.Routes, n) {
				return true
			}
			for _, route := range server.NamedRoutes {
				if route != nil && mayOffer(caddyhttp.RouteList{*route}, n) {
					return true
				}
			}
		}
	}
	return !known
}

func mayOffer(routes caddyhttp.RouteList, n need) bool {
	return slices.ContainsFunc(routes, func(r caddyhttp.Route) bool {
		return slices.ContainsFunc(r.HandlersRaw, func(raw json.RawMessage) bool {
			var value any
			return json.Unmarshal(raw, &value) != nil || offers(value, n)
		})
	})
}

// offers reports whether there is, anywhere in a JSON value, a handler that may offer
// something.
func offers(value any, n need) bool {
	switch value := value.(type) {
	case []any:
		return slices.ContainsFunc(value, func(v any) bool { return offers(v, n) })
	case map[string]any:
		if value["handler"] == "edge_limit" && n.kind == DemandZone {
			zones, _ := value["zones"].([]any)
			return value["rules"] != nil || slices.ContainsFunc(zones, func(v any) bool {
				zone, _ := v.(map[string]any)
				return zone["name"] == n.name && zone["on_demand"] == true
			})
		}
		for _, v := range value {
			if offers(v, n) {
				return true
			}
		}
	}
	return false
}
