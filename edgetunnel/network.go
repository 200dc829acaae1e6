package edgetunnel

import (
	"context"
	"fmt"
	"net"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

func init() {
	caddy.RegisterNetwork(wire.Network, listen)
}

// listen gives a server of Caddy the requests for a backend: bind edge_tunnel/NAME.
func listen(ctx context.Context, _, host, port string, _ uint, _ net.ListenConfig) (any, error) {
	if port == "443" {
		return nil, fmt.Errorf("bind %s/%s: the address of the site must begin with http://, since the tunnel is encrypted already", wire.Network, host)
	}
	if c, ok := ctx.(caddy.Context); ok {
		if _, err := c.AppIfConfigured(agentDirective); err != nil {
			return nil, fmt.Errorf("bind %s/%s: needs the global option %s", wire.Network, host, agentDirective)
		}
	}
	l, err := local.Listen(host)
	if err != nil {
		return nil, fmt.Errorf("bind %s/%s: %w", wire.Network, host, err)
	}
	return l, nil
}
