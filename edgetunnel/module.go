// Package edgetunnel publishes backends that can't be reached: an agent near them
// connects to the edge, and what it serves are ordinary upstreams of reverse_proxy. It
// has the handler edge_tunnel, which lets agents in, the source of upstreams and the
// transport of that name, and the agent as the app edge_agent and a command.
//
// The cores are the packages hub (the edge's side), agent, mux (many streams over a
// connection) and wire (what they say to each other).
package edgetunnel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// directive is the name of the handler, of the source of upstreams and of the transport.
const directive = "edge_tunnel"

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler lets agents in, which connect to any path that it stands on. Other requests
// pass.
type Handler struct {
	// Name tells handlers apart. Each has its own agents, which upstreams of that name use.
	// Default: default.
	Name string `json:"name,omitempty"`
	// Tokens are those of the agents. At least one must be given.
	Tokens []Token `json:"tokens,omitempty"`
	// ClientCertificate asks agents for a certificate that Caddy has verified.
	ClientCertificate *ClientCertificate `json:"client_certificate,omitempty"`
	// Heartbeat is how often edge and agent send something at least. Who sends nothing for
	// three times as long is dead. 200ms to 1m. Default: 2s.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`
	// MaxStreams bounds the requests of an agent at a time. Default: 1000.
	MaxStreams int `json:"max_streams,omitempty"`
	// MaxAgents bounds the agents of a token at a time. Default: 100.
	MaxAgents int `json:"max_agents,omitempty"`
	// Memory bounds what is held for an agent of responses that clients read too slowly,
	// in bytes. Each request needs 64 KiB. Default: 128 MiB.
	Memory int64 `json:"memory,omitempty"`
	// Drain is how long requests under way may take when no configuration has the handler any
	// more. Default: 30s.
	Drain caddy.Duration `json:"drain,omitempty"`

	logger   *zap.Logger
	app      *edgeapp.App
	registry *poolref.Ref[*registry]
}

// Token is what an agent shows: its id, a dot and a secret.
type Token struct {
	// ID names the token in logs.
	ID string `json:"id"`
	// Hash is the SHA-256 of the secret in hexadecimal digits. It may be a placeholder of
	// the environment or a file.
	Hash string `json:"sha256"`
	// Backends are those that the agent may serve; * stands for all.
	Backends []string `json:"backends"`
	// Certificates are names of which the agent's certificate must have one.
	Certificates []string `json:"certificates,omitempty"`

	hash wire.Hash
}

// ClientCertificate is what a certificate must have.
type ClientCertificate struct {
	// Names are DNS names, URIs or e-mail addresses of which it must have one as a subject
	// alternative name. Default: any will do.
	Names []string `json:"names,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers." + directive,
		New: func() caddy.Module { return new(Handler) },
	}
}

// Defaults of Handler.
const (
	defaultMaxAgents = 100
	defaultMemory    = 128 << 20
	defaultDrain     = 30 * time.Second
	longestDrain     = time.Hour
)

// Provision checks the options.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if err := h.check(caddy.NewReplacer()); err != nil {
		return fmt.Errorf("%s: %w", directive, err)
	}
	var err error
	if h.registry, h.app, err = join(ctx); err != nil {
		return err
	}
	if err := h.app.Claim(directive+" "+h.Name, h.define()); err != nil {
		return err
	}
	h.app.OnStart(func() error {
		r := h.registry.Value()
		r.handlers.Store(h, true)
		for name := range r.named() {
			collectors().name(name)
		}
		return nil
	})
	return nil
}

// define describes the handler, so that two of one name are the same.
func (h *Handler) define() string {
	all := sha256.New()
	fmt.Fprint(all, h.Tokens, h.Heartbeat, h.MaxStreams, h.MaxAgents, h.Memory, h.Drain)
	if h.ClientCertificate != nil {
		fmt.Fprint(all, "certificate", h.ClientCertificate.Names)
	}
	const enough = 6
	return fmt.Sprintf("%d tokens and options (%x)", len(h.Tokens), all.Sum(nil)[:enough])
}

// join gives a module the part of the process that all have together. Its Cleanup must
// release it.
func join(ctx caddy.Context) (*poolref.Ref[*registry], *edgeapp.App, error) {
	app, err := edgeapp.From(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := registerMetrics(ctx); err != nil {
		return nil, nil, err
	}
	ref, err := takeRegistry()
	if err != nil {
		return nil, nil, err
	}
	app.OnSettled(func() { ref.Value().check(app) })
	return ref, app, nil
}

// check fills the defaults in, and reports what is wrong.
func (h *Handler) check(repl *caddy.Replacer) error {
	orDefault(&h.Name, hub.DefaultHandler)
	orDefault(&h.Heartbeat, caddy.Duration(mux.DefaultHeartbeat))
	orDefault(&h.MaxStreams, mux.DefaultMaxStreams)
	orDefault(&h.MaxAgents, defaultMaxAgents)
	orDefault(&h.Memory, defaultMemory)
	orDefault(&h.Drain, caddy.Duration(defaultDrain))
	if err := wire.CheckName(h.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if len(h.Tokens) == 0 {
		return errors.New("token: is missing; \"caddy edge tunnel token\" makes one")
	}
	seen := make(map[string]bool)
	for i := range h.Tokens {
		t := &h.Tokens[i]
		if err := t.check(repl); err != nil {
			return err
		}
		if seen[t.ID] {
			return fmt.Errorf("token: %s is given twice", t.ID)
		}
		seen[t.ID] = true
	}
	return h.checkNumbers()
}

func (h *Handler) checkNumbers() error {
	if d := time.Duration(h.Heartbeat); d < wire.LeastHeartbeat || d > wire.MostHeartbeat {
		return fmt.Errorf("heartbeat: invalid duration %s: must be from %s to %s", d, wire.LeastHeartbeat, wire.MostHeartbeat)
	}
	if h.MaxStreams < 1 {
		return fmt.Errorf("max_streams: invalid number %d: must be above zero", h.MaxStreams)
	}
	if h.MaxAgents < 1 {
		return fmt.Errorf("max_agents: invalid number %d: must be above zero", h.MaxAgents)
	}
	const least = 1 << 20
	if h.Memory < least {
		return fmt.Errorf("memory: invalid size %d: must be 1MiB at least", h.Memory)
	}
	if d := time.Duration(h.Drain); d < 0 || d > longestDrain {
		return fmt.Errorf("drain: invalid duration %s: must be above zero, %s at most", d, longestDrain)
	}
	return nil
}

func (t *Token) check(repl *caddy.Replacer) error {
	if err := wire.CheckName(t.ID); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	text, err := repl.ReplaceOrErr(t.Hash, true, true)
	if err != nil {
		return fmt.Errorf("token: %s: %w", t.ID, err)
	}
	if t.hash, err = wire.ParseHash(text); err != nil {
		return fmt.Errorf("token: %s: %w; \"caddy edge tunnel token\" makes both", t.ID, err)
	}
	if len(t.Backends) == 0 {
		return fmt.Errorf("token: %s: needs the backends that it is for, or * for all", t.ID)
	}
	for _, b := range t.Backends {
		if b == hub.AnyBackend {
			continue
		}
		if err := wire.CheckName(b); err != nil {
			return fmt.Errorf("token: %s: %w", t.ID, err)
		}
	}
	return nil
}

// Cleanup leaves the agents to later configurations, if there are any.
func (h *Handler) Cleanup() error {
	if h.registry == nil {
		return nil
	}
	r := h.registry.Value()
	r.drain.Store(int64(h.Drain))
	if _, ran := r.handlers.LoadAndDelete(h); ran {
		r.check(nil) // it may have let somebody in up to now
	}
	return h.registry.Release()
}

// token finds one by its id.
func (h *Handler) token(id string) *Token {
	for i := range h.Tokens {
		if h.Tokens[i].ID == id {
			return &h.Tokens[i]
		}
	}
	return nil
}

func orDefault[T comparable](value *T, usual T) {
	var zero T
	if *value == zero {
		*value = usual
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
