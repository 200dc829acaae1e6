package edgelimit

import (
	"net/http"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/eventtest"
	"github.com/caddyedge/caddy-edge/internal/redistest"
)

func init() { caddy.RegisterModule(holder{}) }

// holder is an origin that answers when it is let.
type holder struct{}

func (holder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_limit_holder", New: func() caddy.Module { return new(holder) }}
}

var held, let = make(chan struct{}), make(chan struct{})

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (holder) ServeHTTP(w http.ResponseWriter, _ *http.Request, _ caddyhttp.Handler) error {
	held <- struct{}{}
	<-let
	w.WriteHeader(http.StatusOK)
	return nil
}

var _ caddyhttp.MiddlewareHandler = holder{}

const probeAll = `"events": {"subscriptions": [{"events": ["edge_limit_refused", "edge_limit_cluster", "edge_adaptive_state"],
	"handlers": [{"handler": "edge_test_probe"}]}]},`

// TestEventsOfRefusals: one for each client, zone and interval.
func TestEventsOfRefusals(t *testing.T) {
	send := loadHandlers(t, `{"handler": "edge_limit", "notice": "1h", "zones": [
		{"name": "told", "rate": "1/h"}, {"name": "tried", "rate": "1/d", "burst": 1, "mode": "shadow"}]}`, probeAll)
	for range 5 {
		send("192.0.2.1")
		send("192.0.2.2")
	}
	refused := func(client string) string {
		return "edge_limit_refused map[key:" + client + " mode:enforce reason:rate retry_after:3600 zone:told]"
	}
	tried := func(client string) string {
		return "edge_limit_refused map[key:" + client + " mode:shadow reason:rate retry_after:86400 zone:tried]"
	}
	eventtest.Require(t, refused("192.0.2.1"), tried("192.0.2.1"), refused("192.0.2.2"), tried("192.0.2.2"))
	send("192.0.2.1")
	send("192.0.2.3")
	send("192.0.2.3")
	eventtest.Require(t, refused("192.0.2.3"), tried("192.0.2.3"))
}

// TestEventOfTheAdaptiveLimit: when its state changes, and not for each refusal.
func TestEventOfTheAdaptiveLimit(t *testing.T) {
	send := loadHandlers(t, `{"handler": "edge_adaptive", "name": "told", "min": 1, "max": 2, "initial": 1}, {"handler": "edge_limit_holder"}`, probeAll)
	var done sync.WaitGroup
	done.Go(func() { send("192.0.2.1") })
	<-held
	for range 3 {
		require.Equal(t, http.StatusServiceUnavailable, send("192.0.2.2").Code)
	}
	eventtest.Require(t, "edge_adaptive_state map[from:normal limit:1 name:told p95_ms:0 to:shedding]")
	let <- struct{}{}
	done.Wait()
}

// TestEventsOfTheCluster: when the server is lost or found.
func TestEventsOfTheCluster(t *testing.T) {
	server := redistest.New(t)
	loadHandlers(t, `{"handler": "edge_limit", "zones": [{"name": "told", "rate": "1/h", "cluster": true}]}`, probeAll+clusterApp(server.Addr(), "local"))
	server.Start()
	// That it was not there may have shown before there was anybody to tell.
	eventtest.Await(t, "edge_limit_cluster map[connected:true]")
	server.Kill()
	eventtest.Require(t, "edge_limit_cluster map[connected:false]")
	server.Start()
	eventtest.Require(t, "edge_limit_cluster map[connected:true]")
}
