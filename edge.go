// Package edge adds all edge modules to a Caddy build. It has no API: import it
// for its side effects, or name it in an xcaddy command:
//
//	xcaddy build --with github.com/caddyedge/caddy-edge
//
// Each feature package also works alone, as in
// --with github.com/caddyedge/caddy-edge/edgecache. The global option edge of the
// Caddyfile comes from package caddyfile, which such a build has to name too; without
// it the defaults hold, or the app edge in JSON.
package edge

import (
	_ "github.com/caddyedge/caddy-edge/caddyfile"
	_ "github.com/caddyedge/caddy-edge/edgebreaker"
	_ "github.com/caddyedge/caddy-edge/edgecache"
	_ "github.com/caddyedge/caddy-edge/edgelimit"
	_ "github.com/caddyedge/caddy-edge/edgetunnel"
	_ "github.com/caddyedge/caddy-edge/edgewaf"
)
