package reqinfo

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BypassCache is the key of requests that a cache is to keep out of. Its value is the
// reason.
const BypassCache = "bypass_cache"

// Charger is a limiter with zones that are charged on demand, by handlers behind it.
type Charger interface {
	// Charge charges a request to a zone. It reports whether there is one of that name,
	// and whether the request is over its limit: then the response is written, or err
	// is for the server's error routes.
	Charge(w http.ResponseWriter, r *http.Request, zone string) (found, refused bool, err error)
}

// chargersVar is the place of the chargers in Caddy's table of request variables.
const chargersVar = "edge.chargers"

// AddCharger makes a charger known to the handlers behind.
func AddCharger(r *http.Request, c Charger) {
	list, _ := caddyhttp.GetVar(r.Context(), chargersVar).([]Charger)
	caddyhttp.SetVar(r.Context(), chargersVar, append(slices.Clip(list), c))
}

// Charge charges a request to a zone of a limiter in front. See Charger.
func Charge(w http.ResponseWriter, r *http.Request, zone string) (found, refused bool, err error) {
	list, _ := caddyhttp.GetVar(r.Context(), chargersVar).([]Charger)
	for _, c := range list {
		if found, refused, err = c.Charge(w, r, zone); found {
			return found, refused, err
		}
	}
	return false, false, nil
}
