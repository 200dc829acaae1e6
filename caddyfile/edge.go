// Package caddyfile holds what the modules add to the Caddyfile beside their
// own directives: the global option edge.
package caddyfile

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("edge", parseEdge)
}

// parseEdge parses the global option edge into the app of that name. Syntax:
//
//	edge {
//		memory <size>
//		redis  <host:port...> {
//			username    <name>
//			password    <text>
//			db          <n>
//			tls
//			ca          <file>
//			server_name <name>
//			prefix      <text>
//			secret      <text>
//			interval    <duration>
//			timeout     <duration>
//			on_error    local|open|closed
//		}
//	}
//
// memory is the budget of all in-memory stores together; the default is
// 256MiB. The option may be repeated, in imported files for example: the blocks
// are merged, and a later block overrides an option of an earlier one.
func parseEdge(d *caddyfile.Dispenser, existingVal any) (any, error) {
	app, err := existingApp(existingVal)
	if err != nil {
		return nil, d.WrapErr(err)
	}
	d.Next() // consume option name
	p := cfparse.For(d, "edge")
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	for d.NextBlock(0) {
		option := d.Val()
		if err := p.Once(option); err != nil {
			return nil, err
		}
		switch option {
		case "memory":
			app.Memory, err = p.Size(option)
		case "redis":
			err = parseRedis(d, p, app)
		default:
			err = p.Unknown(option)
		}
		if err != nil {
			return nil, err
		}
	}
	return httpcaddyfile.App{Name: "edge", Value: caddyconfig.JSON(app, nil)}, nil
}

// existingApp decodes the app that an earlier block of the option made.
func existingApp(existingVal any) (*edgeapp.App, error) {
	app := new(edgeapp.App)
	if existingVal == nil {
		return app, nil
	}
	existing, ok := existingVal.(httpcaddyfile.App)
	if !ok {
		return nil, fmt.Errorf("edge: existing value has unexpected type %T", existingVal)
	}
	if err := json.Unmarshal(existing.Value, app); err != nil {
		return nil, fmt.Errorf("edge: decoding existing value: %w", err)
	}
	return app, nil
}
