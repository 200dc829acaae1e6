package edgetunnel

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/internal/api"
)

func init() {
	api.Register(
		api.Route{Method: http.MethodGet, Path: "/edge/tunnel/agents", Role: api.Read, Handle: serveAgents},
		api.Route{Method: http.MethodGet, Path: "/edge/tunnel/backends", Role: api.Read, Handle: serveBackends},
		api.Route{Method: http.MethodPost, Path: "/edge/tunnel/drain", Role: api.Operate, Handle: serveDrain},
		api.Route{Method: http.MethodPost, Path: "/edge/tunnel/resume", Role: api.Operate, Handle: serveResume},
		api.Route{Method: http.MethodPost, Path: "/edge/tunnel/revoke", Role: api.Operate, Handle: serveRevoke},
		api.Route{Method: http.MethodPost, Path: "/edge/tunnel/allow", Role: api.Operate, Handle: serveAllow},
	)
}

// agentsReply lists the agents.
type agentsReply struct {
	Agents  []agentReply `json:"agents"`
	Held    []string     `json:"held"`
	Revoked []string     `json:"revoked"`
}

// agentReply describes an agent.
type agentReply struct {
	Agent     string         `json:"agent"`
	Token     string         `json:"token"`
	Handler   string         `json:"handler"`
	Remote    string         `json:"remote"`
	Version   string         `json:"version"`
	Since     time.Time      `json:"since"`
	RTT       float64        `json:"rtt_ms"`
	Streams   int64          `json:"streams"`
	Requests  int64          `json:"requests"`
	DataConns int            `json:"data_conns"`
	BytesIn   uint64         `json:"bytes_in"`
	BytesOut  uint64         `json:"bytes_out"`
	Window    int64          `json:"window_bytes"`
	Draining  bool           `json:"draining"`
	Backends  []backendReply `json:"backends"`
}

// backendReply describes a backend of an agent.
type backendReply struct {
	Backend  string `json:"backend"`
	Agent    string `json:"agent,omitempty"`
	Address  string `json:"address"`
	Weight   int    `json:"weight"`
	Healthy  bool   `json:"healthy"`
	Serving  bool   `json:"serving"`
	Streams  int64  `json:"streams"`
	Load     int64  `json:"load"`
	Requests int64  `json:"requests"`
}

func newAgentReply(h *hub.Hub, a *hub.Agent) agentReply {
	in, out := a.Bytes()
	r := agentReply{
		Agent: a.Name, Token: a.Token, Handler: a.Handler, Remote: a.Remote, Version: a.Version, Since: a.Since.UTC().Round(0),
		RTT: float64(a.RTT()) / float64(time.Millisecond), Streams: a.Active(), Requests: a.Requests(), DataConns: a.Lanes(),
		BytesIn: in, BytesOut: out, Window: a.Held(), Draining: a.Draining(), Backends: []backendReply{},
	}
	for _, b := range a.Backends() {
		address := a.Address(b.Name)
		r.Backends = append(r.Backends, backendReply{
			Backend: b.Name, Address: dialOf(address), Weight: b.Weight, Healthy: !b.Unhealthy, Serving: h.Route(address) != nil,
			Streams: b.Active.Load(), Load: b.Active.Load() + b.Foreign.Load(), Requests: b.Requests.Load(),
		})
	}
	return r
}

// serveAgents lists the agents.
func serveAgents(w http.ResponseWriter, _ *http.Request) error {
	reply := agentsReply{Agents: []agentReply{}, Held: []string{}, Revoked: []string{}}
	if h := peekHub(); h != nil {
		for _, a := range h.All() {
			reply.Agents = append(reply.Agents, newAgentReply(h, a))
		}
		reply.Held, reply.Revoked = h.Held(), h.Revoked()
	}
	return api.WriteJSON(w, reply)
}

// backendsReply lists the backends, by name and agent.
type backendsReply struct {
	Backends []backendReply `json:"backends"`
}

// serveBackends lists the backends.
func serveBackends(w http.ResponseWriter, _ *http.Request) error {
	reply := backendsReply{[]backendReply{}}
	if h := peekHub(); h != nil {
		for _, a := range h.All() {
			for _, b := range newAgentReply(h, a).Backends {
				b.Agent = a.Name
				reply.Backends = append(reply.Backends, b)
			}
		}
	}
	return api.WriteJSON(w, reply)
}

// nameRequest is the body of the routes that change something.
type nameRequest struct {
	Agent   string `json:"agent,omitempty"`
	Token   string `json:"token,omitempty"`
	Timeout string `json:"timeout,omitempty"`
}

// readName reads a request about an agent or a token.
func readName(r *http.Request, field string) (h *hub.Hub, name string, timeout time.Duration, err error) {
	var q nameRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, "", 0, err
	}
	bad := func(format string, args ...any) error {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
	}
	if name = map[string]string{"agent": q.Agent, "token": q.Token}[field]; name == "" {
		return nil, "", 0, bad("%s: is missing", field)
	}
	timeout = defaultDrain
	if q.Timeout != "" {
		if timeout, err = caddy.ParseDuration(q.Timeout); err != nil || timeout < 0 || timeout > longestDrain {
			return nil, "", 0, bad("timeout: invalid duration %q: want one of at most %s, such as 30s", q.Timeout, longestDrain)
		}
	}
	if h = peekHub(); h == nil {
		return nil, "", 0, notThere(field, name)
	}
	return h, name, timeout, nil
}

func notThere(field, name string) error {
	return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("%s: there is no such %s %q", field, field, name)}
}

// changedReply says what was done.
type changedReply struct {
	Changed bool `json:"changed"`
	Closed  int  `json:"closed,omitempty"`
}

func adminLog() *zap.Logger { return caddy.Log().Named("admin.api.edge") }

// serveDrain lets an agent finish its requests, and keeps it away.
func serveDrain(w http.ResponseWriter, r *http.Request) error {
	h, name, timeout, err := readName(r, "agent")
	if err != nil {
		return err
	}
	if !h.Drain(name, timeout) {
		if slices.Contains(h.Held(), name) {
			return api.WriteJSON(w, changedReply{})
		}
		return notThere("agent", name)
	}
	adminLog().Info("drains an agent", zap.String("agent", name), zap.Duration("timeout", timeout))
	return api.WriteJSON(w, changedReply{Changed: true})
}

// serveResume lets an agent come back.
func serveResume(w http.ResponseWriter, r *http.Request) error {
	h, name, _, err := readName(r, "agent")
	if err != nil {
		return err
	}
	return api.WriteJSON(w, changedReply{Changed: h.Resume(name)})
}

// serveRevoke closes the sessions of a token, and lets no more in.
func serveRevoke(w http.ResponseWriter, r *http.Request) error {
	h, name, _, err := readName(r, "token")
	if err != nil {
		return err
	}
	if r, ok := registries.Peek(registryKey); !ok || !r.knows(name) {
		return notThere("token", name)
	}
	closed, changed := h.Revoke(name)
	adminLog().Info("revoked a token", zap.String("token", name), zap.Int("closed", closed))
	return api.WriteJSON(w, changedReply{Changed: changed, Closed: closed})
}

// serveAllow takes a revocation back.
func serveAllow(w http.ResponseWriter, r *http.Request) error {
	h, name, _, err := readName(r, "token")
	if err != nil {
		return err
	}
	return api.WriteJSON(w, changedReply{Changed: h.Allow(name)})
}
