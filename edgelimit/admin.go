package edgelimit

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/edgelimit/redis"
	"github.com/caddyedge/caddy-edge/internal/api"
)

func init() {
	api.Register(
		api.Route{Method: http.MethodGet, Path: "/edge/limit/zones", Role: api.Read, Handle: serveZones},
		api.Route{Method: http.MethodGet, Path: "/edge/limit/top", Role: api.Read, Handle: serveTop},
		api.Route{Method: http.MethodGet, Path: "/edge/limit/key", Role: api.Read, Handle: serveKey},
		api.Route{Method: http.MethodGet, Path: "/edge/limit/cluster", Role: api.Read, Handle: serveCluster},
		api.Route{Method: http.MethodPost, Path: "/edge/limit/reset", Role: api.Operate, Handle: serveReset},
		api.Route{Method: http.MethodPost, Path: "/edge/limit/mode", Role: api.Operate, Handle: serveMode},
	)
}

// zoneReply describes a zone.
type zoneReply struct {
	Name        string `json:"name"`
	Mode        Mode   `json:"mode"`
	Configured  Mode   `json:"mode_configured"`
	Key         string `json:"key"`
	Rate        Rate   `json:"rate,omitzero"`
	Burst       int    `json:"burst,omitempty"`
	Window      Rate   `json:"window,omitzero"`
	Concurrency int    `json:"concurrency,omitempty"`
	Slots       int    `json:"slots"`
	Bytes       int    `json:"bytes"`
	Used        int    `json:"used_slots"`
	Indebted    int    `json:"indebted"`
	Evicted     uint64 `json:"evictions"`
	InFlight    int    `json:"in_flight"`
	Penalties   int    `json:"penalties"`
	Allowed     uint64 `json:"allowed"`
	Denied      uint64 `json:"denied"`
	Shadow      uint64 `json:"shadow"`
}

// zones returns the zones of the running config, by name.
func zones() []*Zone {
	var all []*Zone
	pool.Range(func(_ string, s *state) bool {
		if z := s.zone.Load(); z != nil {
			all = append(all, z)
		}
		return true
	})
	slices.SortFunc(all, func(a, b *Zone) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func serveZones(w http.ResponseWriter, _ *http.Request) error {
	now := gcra.Now()
	out := []zoneReply{}
	for _, z := range zones() {
		t := z.tables
		reply := zoneReply{
			Name: z.Name, Mode: z.effectiveMode(), Configured: z.Mode, Key: z.Key, Rate: z.Rate, Burst: z.Burst, Window: z.Window,
			Concurrency: z.Concurrency, Slots: t.rates.Slots(), Bytes: t.rates.Bytes() + t.penalties.Bytes() + z.state.bytes(), Evicted: t.rates.Evicted(),
			Penalties: t.penalties.Count(now), Allowed: value(z.metrics.allowed), Denied: value(z.metrics.denied), Shadow: value(z.metrics.shadow),
		}
		if limit := z.levels[0].limit; limit != nil {
			reply.Used, reply.Indebted = t.rates.Count(limit, now)
		}
		_, reply.InFlight = z.state.inflight.Totals()
		out = append(out, reply)
	}
	return api.WriteJSON(w, map[string]any{"zones": out})
}

// zoneOfName looks a zone up for a request.
func zoneOfName(name string) (*Zone, error) {
	if name == "" {
		name = DefaultName
	}
	if s, ok := pool.Peek(name); ok {
		if z := s.zone.Load(); z != nil {
			return z, nil
		}
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("zone: there is none named %q", name)}
}

// topReply is one of the clients that were refused most.
type topReply struct {
	Zone    string `json:"zone"`
	Key     string `json:"key"`
	ID      string `json:"id"`
	Refused uint64 `json:"refused"`
	Error   uint64 `json:"refused_error"`
}

// serveTop lists who was refused most: ?zone= (default: all zones) and ?limit=.
func serveTop(w http.ResponseWriter, r *http.Request) error {
	limit := 10
	if v := r.FormValue("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > topKeys {
			return badRequest("limit: invalid value %q: want 1 to %d", v, topKeys)
		}
		limit = n
	}
	of := zones()
	if name := r.FormValue("zone"); name != "" {
		z, err := zoneOfName(name)
		if err != nil {
			return err
		}
		of = []*Zone{z}
	}
	out := []topReply{}
	for _, z := range of {
		for _, c := range z.state.top.Top(limit) {
			out = append(out, topReply{z.Name, c.Key[idSize:], hex.EncodeToString([]byte(c.Key[:idSize])), c.Count, c.Error})
		}
	}
	slices.SortStableFunc(out, func(a, b topReply) int { return int(min(b.Refused, 1<<31)) - int(min(a.Refused, 1<<31)) })
	return api.WriteJSON(w, map[string]any{"keys": out[:min(limit, len(out))]})
}

// serveCluster shows this process's part in the clusters.
func serveCluster(w http.ResponseWriter, _ *http.Request) error {
	out := []redis.Stats{}
	for _, n := range joined() {
		out = append(out, n.Stats())
	}
	return api.WriteJSON(w, map[string]any{"clusters": out})
}

// serveMode sets a zone's mode until the config has another one; "" follows the
// config.
func serveMode(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Zone string `json:"zone"`
		Mode *Mode  `json:"mode"`
	}
	if err := api.ReadJSON(r, &q); err != nil {
		return err
	}
	z, err := zoneOfName(q.Zone)
	if err != nil {
		return err
	}
	if q.Mode == nil {
		return badRequest("mode: want enforce, shadow or off, or an empty one to follow the config")
	}
	var set *override
	if *q.Mode != "" {
		if err := q.Mode.provision(ModeEnforce); err != nil {
			return badRequest("%w", err)
		}
		set = &override{*q.Mode, z.Mode}
	}
	z.state.override.Store(set)
	caddy.Log().Named("admin.api.edge").Info("changed the mode of a limit", zap.String("zone", z.Name), zap.String("mode", string(z.effectiveMode())))
	return api.WriteJSON(w, map[string]any{"zone": z.Name, "mode": z.effectiveMode()})
}

func badRequest(format string, args ...any) error {
	return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}

// value reads a counter.
func value(c prometheus.Counter) uint64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		return 0
	}
	return uint64(m.GetCounter().GetValue())
}
