package edgelimit

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyedge/caddy-edge/internal/api"
)

func init() {
	api.Register(api.Route{Method: http.MethodGet, Path: "/edge/adaptive", Role: api.Read, Handle: serveAdaptive})
}

// serveAdaptive shows the adaptive limits.
func serveAdaptive(w http.ResponseWriter, _ *http.Request) error {
	var all []*control
	controls.Range(func(_ string, c *control) bool {
		all = append(all, c)
		return true
	})
	now := time.Now()
	out := []adaptiveReply{}
	for _, c := range all { // outside of the pool's lock: a status may announce a change
		out = append(out, c.status(now))
	}
	slices.SortFunc(out, func(a, b adaptiveReply) int { return strings.Compare(a.Name+a.Mode, b.Name+b.Mode) })
	return api.WriteJSON(w, map[string]any{"limits": out})
}
