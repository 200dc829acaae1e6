package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
)

// What a client is told when everything is refused for want of a server.
const closedRetry = time.Second

// ErrOffline means that the server cannot be reached at present.
var ErrOffline = errors.New("the Redis server cannot be reached")

// Zone is one limit, held by all nodes together. It is safe for concurrent use.
type Zone struct {
	shared *zone
	closed atomic.Bool
}

type zoneID struct {
	name  string
	limit lease.Limit
}

// zone is what all Zones of one name and limit share.
type zone struct {
	node   *Node
	id     zoneID
	hasher lease.Hasher
	table  *lease.Table
	prefix string // of the keys on the server
	rate   string // as arguments of the script
	burst  string
	refs   int // guarded by the node's mutex
}

func newZone(n *Node, id zoneID) *zone {
	z := &zone{
		node: n, id: id,
		hasher: lease.NewHasher(n.cfg.Secret, id.name),
		table:  lease.New(id.limit, n.cfg.Keys),
		prefix: n.cfg.Prefix + id.name + ":{",
		rate:   strconv.FormatFloat(id.limit.Rate, 'g', -1, 64),
		burst:  strconv.Itoa(id.limit.Burst),
	}
	z.table.SetNodes(n.Nodes())
	return z
}

// key is the key on the server. The braces make the hash alone decide on the slot
// in a Redis Cluster.
func (z *zone) key(k lease.Key) string { return z.prefix + k.String() + "}" }

func containsBrace(s string) bool { return strings.ContainsAny(s, "{}") }

// Take decides about one request of a client, from local state alone.
//
//   - Known and Allowed: go on.
//   - Known and not Allowed: refuse.
//   - not Known: decide by the share of this node, see [Zone.Share], in a table of
//     your own.
//
// Whoever refuses the request although the verdict was not a refusal, now or
// later, must call [Zone.Refund] with the verdict. client may be reused at once.
func (z *Zone) Take(client []byte, cost int, now time.Time) lease.Verdict {
	s := z.shared
	if s.node.state.Load() != online {
		return s.without(cost)
	}
	return s.table.Take(s.hasher.Key(client), cost, now)
}

// without is the verdict when there is no server.
func (z *zone) without(cost int) lease.Verdict {
	if z.node.state.Load() == starting {
		return lease.Verdict{}
	}
	switch z.node.cfg.OnError {
	case Open:
		return lease.Verdict{Known: true, Allowed: true}
	case Closed:
		if cost > 0 {
			return lease.Verdict{Known: true, RetryAfter: closedRetry, Blind: true}
		}
		return lease.Verdict{Known: true, Allowed: true}
	default:
		return lease.Verdict{}
	}
}

// Refund takes back what a Take has booked, at most once per verdict. A verdict
// that booked nothing is ignored.
func (z *Zone) Refund(v lease.Verdict) { z.shared.table.Refund(v) }

// Limit returns the limit of all nodes together.
func (z *Zone) Limit() lease.Limit { return z.shared.id.limit }

// Share returns the part of this node: the limit by the number of nodes, which is
// [Node.Nodes] and changes when nodes come and go.
func (z *Zone) Share() lease.Limit { return z.Limit().Share(z.shared.node.Nodes()) }

// Free returns the tokens that the server has left for a client of all nodes; a
// debt is negative. It makes a round trip: it is for operators, not for requests.
// The error is [ErrOffline] or that of the server.
func (z *Zone) Free(ctx context.Context, client []byte) (float64, error) {
	calls := []call{{zone: z.shared, ask: lease.Ask{Key: z.shared.hasher.Key(client)}}}
	err := z.shared.ask(ctx, func(ctx context.Context, s server) error { return s.exchange(ctx, calls) })
	return calls[0].answer.Free, errors.Join(err, calls[0].err)
}

// Reset gives a client a full bucket on the server and drops its account on this
// node. Other nodes may hold an old refusal against it until their next round. It
// makes a round trip: it is for operators, not for requests. The error is
// [ErrOffline] or that of the server.
func (z *Zone) Reset(ctx context.Context, client []byte) error {
	k := z.shared.hasher.Key(client)
	z.shared.table.Forget(k)
	return z.shared.ask(ctx, func(ctx context.Context, s server) error { return s.forget(ctx, z.shared.key(k)) })
}

// ask does something with the server beside the rounds.
func (z *zone) ask(ctx context.Context, f func(context.Context, server) error) error {
	z.node.mu.Lock()
	s := z.node.server
	z.node.mu.Unlock()
	if s == nil || z.node.state.Load() != online {
		return ErrOffline
	}
	ctx, cancel := context.WithTimeout(ctx, z.node.cfg.Timeout)
	defer cancel()
	return f(ctx, s)
}

// Close leaves the zone. The last of a name and limit has its leases given back
// in the next round. More calls do nothing.
func (z *Zone) Close() {
	if z.closed.Swap(true) {
		return
	}
	s := z.shared
	n := s.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.refs--; s.refs == 0 {
		delete(n.zones, s.id)
		n.leaving = append(n.leaving, s)
	}
}
