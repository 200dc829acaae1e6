package edgebreaker

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

// takeName gives the handler a name if it has none. Nobody must share the state of one
// without a name by chance.
func (b *Handler) takeName(h httpcaddyfile.Helper, p *cfparse.Parser) error {
	const key = directive + " names"
	given, _ := h.State[key].(map[string]bool) // whether by hand
	if given == nil {
		given = make(map[string]bool)
		h.State[key] = given
	}
	byHand := b.Name != ""
	if !byHand {
		b.Name = cfparse.NextName(h, directive, DefaultName)
	}
	if before, taken := given[b.Name]; taken && before != byHand {
		return p.Errf("name", "%q is given to one, and is what another without a name gets: choose a different one", b.Name)
	}
	given[b.Name] = byHand
	return nil
}

// define returns the options that handlers of one name must have in common: all but
// those that say how a refusal looks.
func (h *Handler) define() (string, error) {
	text, err := json.Marshal(struct {
		*Handler
		Name     string `json:"name,omitempty"`
		Status   int    `json:"status,omitempty"`
		Fallback any    `json:"fallback,omitempty"`
	}{Handler: h})
	return string(text), err
}

// claimRoute refuses a name that stands for a route with other options.
func (h *Handler) claimRoute() error {
	return h.app.Claim(directive+": name "+h.Name, h.definition)
}
