package edgebreaker

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// mostBackends bounds the backends that are known at a time beside those that running
// configs name, since a client may choose addresses where the upstreams have
// placeholders.
const mostBackends = 4096

// registryKey is the one key of registries.
const registryKey = "backends"

// registries holds the one registry of the process for as long as a config uses it.
var registries = poolref.New[*registry]()

// registry holds the backends of all sites.
type registry struct{ *breaker.Registry }

func takeRegistry() (*poolref.Ref[*registry], error) {
	return registries.Take(registryKey, func() (*registry, error) {
		return &registry{breaker.NewRegistry(mostBackends, nil)}, nil
	})
}

// Destruct implements caddy.Destructor. There is nothing to stop.
func (*registry) Destruct() error { return nil }

var _ caddy.Destructor = (*registry)(nil)
