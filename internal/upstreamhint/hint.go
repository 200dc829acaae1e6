// Package upstreamhint is what a source of upstreams knows of them, for a policy that
// chooses among them. The two meet here, as no feature imports another.
package upstreamhint

import (
	"context"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Hint is what is known of an upstream.
type Hint struct {
	// Weight is its share of the requests in relation to others, 0: it has none.
	Weight int
	// Load is how many requests it has that this process has not sent to it.
	Load int
	// Absent is set for an upstream that stands for nobody: to ask it yields a refusal.
	Absent bool
}

var (
	mu      sync.RWMutex
	sources = make(map[string]func(dial string) Hint)
)

// Register has source asked about the upstreams whose dial address has that network in
// front. Packages call it from init.
func Register(network string, source func(dial string) Hint) {
	mu.Lock()
	defer mu.Unlock()
	sources[network] = source
}

// Of returns what is known of an upstream by its dial address.
func Of(dial string) Hint {
	network, _, ok := strings.Cut(dial, "/")
	if !ok {
		return Hint{}
	}
	mu.RLock()
	source := sources[network]
	mu.RUnlock()
	if source == nil {
		return Hint{}
	}
	return source(dial)
}

// passedKey is the mark's place in Caddy's table of request variables.
const passedKey = "edge.upstream.passed" //nolint:gosec // no password

// Pass notes that the attempt under way ended before anybody had got the request, for a
// reason that is none of the upstream's failures. Transports call it.
func Pass(ctx context.Context) { caddyhttp.SetVar(ctx, passedKey, true) }

// Passed reports whether the attempt before was passed, and forgets it.
func Passed(ctx context.Context) bool {
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	if vars[passedKey] == nil {
		return false
	}
	delete(vars, passedKey)
	return true
}
