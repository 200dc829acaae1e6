package cfparse

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// NextName returns the name of a directive's own state, which no other directive of
// the Caddyfile has got: name for the first, then name-2, name-3 and so on. Sites
// must not share their state unless they say so.
func NextName(h httpcaddyfile.Helper, directive, name string) string {
	if h.IsNamedRoute() {
		name += "-route" // these are adapted apart from the sites
	}
	key := directive + " " + name
	n, _ := h.State[key].(int)
	h.State[key] = n + 1
	if n > 0 {
		name += "-" + strconv.Itoa(n+1)
	}
	return name
}
