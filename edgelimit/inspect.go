package edgelimit

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/edgelimit/lease"
	"github.com/caddyedge/caddy-edge/internal/api"
)

// client names one client of a zone: by the values of its key's placeholders, or
// by the id of a listing.
type client struct {
	Zone   string   `json:"zone"`
	Values []string `json:"key"`
	ID     string   `json:"id"`
}

// account is what a client has at one level of a zone.
type account struct {
	level *level
	key   gcra.Key
	text  []byte // what key is the hash of; nil when only the id is known
}

// find returns the zone and the client's accounts, its own one first. An id
// names a single account, of whatever level.
func (c *client) find() (*Zone, []account, error) {
	z, err := zoneOfName(c.Zone)
	if err != nil {
		return nil, nil, err
	}
	byID := c.ID != ""
	if byID == (len(c.Values) > 0) && (byID || z.levels[0].keyer.placeholders() > 0) {
		return nil, nil, badRequest("want key or id")
	}
	if byID {
		key, err := parseID(c.ID)
		if err != nil {
			return nil, nil, badRequest("%w", err)
		}
		return z, []account{{level: &z.levels[0], key: key}}, nil
	}
	var all []account
	for i := range z.levels {
		lv := &z.levels[i]
		if lv.outer && !lv.keyer.coversValues(c.Values) {
			continue
		}
		text, err := lv.keyer.fromValues(c.Values)
		if err != nil {
			return nil, nil, badRequest("key: %w", err)
		}
		all = append(all, account{lv, gcra.Hash(text).With(uint64(i)), text})
	}
	return z, all, nil
}

// coversValues reports whether a client with these values counts at a level.
func (k *keyer) coversValues(values []string) bool {
	for _, p := range k.parts {
		if p.kind == literal || len(values) == 0 {
			continue
		}
		if p.kind == clientIP || p.kind == remoteIP {
			a, err := netip.ParseAddr(values[0])
			return err == nil && k.covers(a.Unmap())
		}
		values = values[1:]
	}
	return false
}

// keyReply is what a zone knows of a client: the strictest of its levels.
type keyReply struct {
	Zone       string  `json:"zone"`
	ID         string  `json:"id"`
	Allowed    bool    `json:"allowed"`
	Remaining  int     `json:"remaining"`
	RetryAfter float64 `json:"retry_after_seconds"`
	Reset      float64 `json:"reset_seconds"`
	InFlight   int     `json:"in_flight"`
	Penalty    float64 `json:"penalty_seconds"`
	// Cluster is what the nodes together have left for the client; it is not
	// there without a cluster, by id, or while the server can't be reached.
	Cluster *float64 `json:"cluster_remaining,omitempty"`
}

// judge adds what one account allows.
func (k *keyReply) judge(z *Zone, a account, now gcra.Time) {
	limit := a.level.limit
	switch shared := z.shared != nil && !a.level.outer; {
	case shared && k.Cluster != nil: // this node's share is for when nothing is known
		k.judgeCluster(z.shared.zone.Limit())
		limit = nil
	case shared:
		limit = z.shared.limit().limit // what this node may grant by itself
	}
	if limit != nil {
		v := z.tables.rates.Check(a.key, limit, 1, now)
		if !a.level.outer || v.Remaining < k.Remaining {
			k.Remaining, k.Reset = v.Remaining, v.Reset.Seconds()
		}
		k.Allowed, k.RetryAfter = k.Allowed && v.Allowed, max(k.RetryAfter, v.RetryAfter.Seconds())
	}
	if left, ok := z.tables.penalties.Blocked(a.key, now); ok {
		k.Allowed, k.Penalty, k.RetryAfter = false, max(k.Penalty, left.Seconds()), max(k.RetryAfter, left.Seconds())
	}
}

// judgeCluster adds what the nodes together allow.
func (k *keyReply) judgeCluster(l lease.Limit) {
	left := *k.Cluster
	k.Remaining = max(int(left), 0)
	k.Reset = max((float64(l.Burst)-left)/l.Rate, 0)
	if left < 1 {
		k.Allowed, k.RetryAfter = false, (1-left)/l.Rate
	}
}

// serveKey shows one client: ?zone=, and ?key= once for each placeholder of the
// zone's key, or ?id=.
func serveKey(w http.ResponseWriter, r *http.Request) error {
	c := client{Zone: r.FormValue("zone"), ID: r.FormValue("id")}
	c.Values = r.Form["key"]
	z, accounts, err := c.find()
	if err != nil {
		return err
	}
	own, now := accounts[0], gcra.Now()
	reply := keyReply{Zone: z.Name, ID: idOf(own.key), Allowed: true, InFlight: z.state.inflight.Count(counter(own.key))}
	if z.shared != nil && own.text != nil {
		if left, err := z.shared.zone.Free(r.Context(), own.text); err == nil {
			reply.Cluster = &left
		}
	}
	for _, a := range accounts {
		reply.judge(z, a, now)
	}
	return api.WriteJSON(w, reply)
}

// serveReset forgets what a client has used, and its penalty, at all levels.
func serveReset(w http.ResponseWriter, r *http.Request) error {
	var c client
	if err := api.ReadJSON(r, &c); err != nil {
		return err
	}
	z, accounts, err := c.find()
	if err != nil {
		return err
	}
	own, known := accounts[0], false
	if z.shared != nil && own.text == nil {
		return badRequest("id: zone %s is shared in a cluster, where ids mean nothing to the other nodes: want key", z.Name)
	}
	for _, a := range accounts {
		known = z.tables.rates.Reset(a.key) || known
		known = z.tables.penalties.Lift(a.key) || known
	}
	caddy.Log().Named("admin.api.edge").Info("reset a client of a limit", zap.String("zone", z.Name), zap.String("id", idOf(own.key)))
	if z.shared != nil {
		if err := z.shared.zone.Reset(r.Context(), own.text); err != nil {
			return caddy.APIError{HTTPStatus: http.StatusBadGateway, Err: fmt.Errorf("reset on this node only: %w", err)}
		}
	}
	return api.WriteJSON(w, map[string]bool{"reset": known})
}
