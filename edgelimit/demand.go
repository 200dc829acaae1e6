package edgelimit

import (
	"net/http"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// Charge implements reqinfo.Charger: handlers behind charge a request to a zone with
// on_demand, such as a firewall that found something odd in it.
func (l *Limit) Charge(w http.ResponseWriter, r *http.Request, zone string) (found, refused bool, err error) {
	for _, z := range l.Zones {
		if !z.OnDemand || z.Name != zone {
			continue
		}
		var room [2]claim
		claims, err := z.claim(room[:0], r)
		if err != nil || len(claims) == 0 {
			return true, false, err
		}
		if d := l.admit(claims, r, gcra.Now()); d.zone != nil {
			return true, true, l.refuse(w, r, d)
		}
		return true, false, nil
	}
	return false, false, nil
}

var _ reqinfo.Charger = (*Limit)(nil)
