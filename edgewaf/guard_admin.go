package edgewaf

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/access"
	"github.com/caddyedge/caddy-edge/internal/api"
)

func init() {
	api.Register(
		api.Route{Method: http.MethodGet, Path: "/edge/guard/checks", Role: api.Read, Handle: serveChecks},
		api.Route{Method: http.MethodGet, Path: "/edge/guard/lists", Role: api.Read, Handle: serveLists},
		api.Route{Method: http.MethodGet, Path: "/edge/guard/lookup", Role: api.Read, Handle: serveLookup},
		api.Route{Method: http.MethodPost, Path: "/edge/guard/mode", Role: api.Operate, Handle: serveGuardMode},
	)
}

// guardReply describes a guard.
type guardReply struct {
	Name   string       `json:"name"`
	Checks []checkReply `json:"checks"`
}

// checkReply describes a check and what it did since the guard was made.
type checkReply struct {
	ID         string `json:"id"`
	Mode       string `json:"mode"`
	Configured string `json:"mode_configured"`
	Refused    uint64 `json:"refused"`
	Shadow     uint64 `json:"shadow"`
	Repaired   uint64 `json:"repaired"`
	Closed     uint64 `json:"closed"`
}

// runningGuards returns the guards of the running config, by name.
func runningGuards() []*Guard {
	var all []*Guard
	guards.Range(func(_ string, s *guardState) bool {
		if g := s.running.Load(); g != nil {
			all = append(all, g)
		}
		return true
	})
	slices.SortFunc(all, func(a, b *Guard) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// guardOfName looks a guard up for a request.
func guardOfName(name string) (*Guard, error) {
	if name == "" {
		name = DefaultName
	}
	if s, ok := guards.Peek(name); ok {
		if g := s.running.Load(); g != nil {
			return g, nil
		}
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("guard: there is none named %q", name)}
}

func serveChecks(w http.ResponseWriter, _ *http.Request) error {
	out := []guardReply{}
	for _, g := range runningGuards() {
		reply := guardReply{Name: g.Name}
		for c := range check(checks) {
			counts := &g.state.counts[c]
			reply.Checks = append(reply.Checks, checkReply{
				ID: c.String(), Mode: g.effective(c).String(), Configured: g.levels[c].String(),
				Refused: counts[actionRefused].Load(), Shadow: counts[actionShadow].Load(),
				Repaired: counts[actionRepaired].Load(), Closed: counts[actionClosed].Load(),
			})
		}
		out = append(out, reply)
	}
	return api.WriteJSON(w, map[string]any{"guards": out})
}

// listReply describes a file.
type listReply struct {
	File    string    `json:"file"`
	Kind    string    `json:"kind"`
	Entries int       `json:"entries"`
	Bytes   int64     `json:"bytes"`
	Loaded  time.Time `json:"loaded"`
	Refresh float64   `json:"refresh_seconds"`
	Error   string    `json:"error,omitempty"`
}

func serveLists(w http.ResponseWriter, _ *http.Request) error {
	out := []listReply{}
	for _, l := range watched() {
		status := l.status()
		reply := listReply{File: l.path, Kind: l.kind, Entries: l.entries(), Bytes: l.bytes(), Loaded: status.Loaded, Refresh: l.every.Seconds()}
		if status.Err != nil {
			reply.Error = status.Err.Error()
		}
		out = append(out, reply)
	}
	return api.WriteJSON(w, map[string]any{"lists": out})
}

// lookupReply says what a guard decides about an address, and why.
type lookupReply struct {
	Guard   string `json:"guard"`
	Address string `json:"address"`
	Allowed bool   `json:"allowed"`
	By      string `json:"by"`
	List    string `json:"list,omitempty"`
	File    string `json:"file,omitempty"`
	Entry   string `json:"entry,omitempty"`
	ASN     uint32 `json:"asn,omitempty"`
	Country string `json:"country,omitempty"`
}

// serveLookup explains the decision about an address: ?address= and ?guard= (default:
// default).
func serveLookup(w http.ResponseWriter, r *http.Request) error {
	a, err := netip.ParseAddr(r.FormValue("address"))
	if err != nil {
		return badRequest("address: invalid value %q", r.FormValue("address"))
	}
	g, err := guardOfName(r.FormValue("guard"))
	if err != nil {
		return err
	}
	a = a.Unmap().WithZone("")
	policy := g.policy
	if policy == nil {
		policy = new(access.Policy)
	}
	d := policy.Explain(a)
	asn, country := policy.Locate(a)
	return api.WriteJSON(w, lookupReply{
		Guard: g.Name, Address: a.String(), Allowed: d.Allowed, By: d.By, List: d.List, File: d.File, Entry: d.Entry, ASN: asn, Country: country,
	})
}

// serveGuardMode sets the mode of a check until the config has another one; "" follows
// the config.
func serveGuardMode(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Guard string `json:"guard"`
		Check string `json:"check"`
		Mode  *Mode  `json:"mode"`
	}
	if err := api.ReadJSON(r, &q); err != nil {
		return err
	}
	g, err := guardOfName(q.Guard)
	if err != nil {
		return err
	}
	c, err := checkOf(q.Check)
	if err != nil {
		return badRequest("check: %w", err)
	}
	if q.Mode == nil {
		return badRequest("mode: want enforce, shadow or off, or an empty one to follow the config")
	}
	var set *override
	if *q.Mode != "" {
		l, err := q.Mode.parse(levelEnforce)
		if err != nil {
			return badRequest("mode: %w", err)
		}
		set = &override{l, g.levels[c]}
	}
	g.state.override(c, set)
	caddy.Log().Named("admin.api.edge").Info("changed the mode of a check", zap.String("guard", g.Name), zap.String("check", c.String()), zap.String("mode", g.effective(c).String()))
	return api.WriteJSON(w, map[string]any{"guard": g.Name, "check": c.String(), "mode": g.effective(c).String()})
}

func badRequest(format string, args ...any) error {
	return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}
