// Command caddy is Caddy with its standard modules and all edge modules.
package main

import (
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddyedge/caddy-edge"
)

func main() { caddycmd.Main() }
