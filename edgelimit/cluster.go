package edgelimit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/edgelimit/lease"
	"github.com/caddyedge/caddy-edge/edgelimit/redis"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// nodes holds this process's part in the clusters, one for each server, over
// every configuration.
var nodes = poolref.New[*node]()

// node is a connection with its watcher.
type node struct {
	*redis.Node
	unwatch func()
}

// eventCluster is emitted when the server that the nodes share is lost or found.
const eventCluster = "edge_limit_cluster" // data: connected

// Destruct gives the leases back and ends the connection.
func (n *node) Destruct() error {
	n.unwatch()
	n.Close()
	return nil
}

// joinNode returns the part in the cluster of a config.
func joinNode(r *edgeapp.Redis) (*poolref.Ref[*node], error) {
	if r == nil {
		return nil, fmt.Errorf("cluster: needs the option redis of the global option edge")
	}
	tls, err := r.TLSConfig()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(r) //nolint:gosec // only its hash is kept
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text) // the key must not hold the password
	return nodes.Take(hex.EncodeToString(sum[:]), func() (*node, error) {
		n, err := redis.New(redis.Config{
			Addresses: r.Addresses, Username: r.Username, Password: r.Password, TLS: tls, DB: r.DB,
			Prefix: r.Prefix + "limit:", Secret: r.Secret, Interval: time.Duration(r.Interval), Timeout: time.Duration(r.Timeout),
			OnError: redis.OnError(r.OnError),
		})
		if err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		return &node{n, n.Watch(announceCluster)}, nil
	})
}

// joined returns this process's parts in the clusters.
func joined() (all []*node) {
	nodes.Range(func(_ string, n *node) bool {
		all = append(all, n)
		return true
	})
	return all
}

// announceCluster tells that the server was lost or found. It outlives configs.
func announceCluster(connected bool, err error) {
	logger := caddy.Log().Named("http.handlers.edge_limit")
	if connected {
		logger.Info("limits are shared through Redis")
	} else {
		logger.Error("Redis can't be reached: limits hold as on_error says", zap.Error(err))
	}
	edgeapp.Emit(eventCluster, map[string]any{"connected": connected})
}

// shared is a zone's part in the cluster.
type shared struct {
	zone *redis.Zone
	ref  *poolref.Ref[*node]
	// share is this node's part of the limit, for clients without a lease. It
	// follows the number of nodes.
	share atomic.Pointer[share]
	base  share // the whole limit
}

type share struct {
	nodes int
	limit *gcra.Limit
	burst int // the most that one request may cost
}

// provisionCluster checks that the zone can be shared, and joins.
func (z *Zone) provisionCluster(app *edgeapp.App) error {
	if !z.Cluster {
		return nil
	}
	switch {
	case z.Rate == (Rate{}):
		return fmt.Errorf("cluster: needs a rate")
	case z.count != nil:
		return fmt.Errorf("cluster: can't be together with count")
	}
	ref, err := joinNode(app.Redis)
	if err != nil {
		return err
	}
	z.shared = &shared{ref: ref, base: share{1, z.levels[0].limit, z.Burst}}
	perSecond := float64(z.Rate.N) / z.Rate.Per.Seconds()
	if z.shared.zone, err = ref.Value().Zone(z.Name, lease.Limit{Rate: perSecond, Burst: z.Burst}); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	z.shared.share.Store(&z.shared.base)
	return nil
}

// leave ends the zone's part in the cluster.
func (s *shared) leave() error {
	if s.zone != nil {
		s.zone.Close()
	}
	return s.ref.Release()
}

// limit returns what this node may grant a client without a lease.
func (s *shared) limit() *share {
	n := s.ref.Value().Nodes()
	cached := s.share.Load()
	if cached.nodes == n {
		return cached
	}
	if n <= 1 {
		s.share.Store(&s.base)
		return &s.base
	}
	part := s.zone.Share()
	fresh := &share{nodes: n, burst: max(part.Burst, 1)}
	limit, err := gcra.Rate(part.Rate, time.Second, fresh.burst)
	if err != nil { // too slow a share: the limit itself is a valid one
		return &s.base
	}
	fresh.limit = &limit
	s.share.Store(fresh)
	return fresh
}
