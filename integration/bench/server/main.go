// Command server is the server that the benchmarks measure: Caddy with its
// standard modules, all edge modules, and the handler they are compared with.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddyedge/caddy-edge"
)

func main() { caddycmd.Main() }
