package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
)

// The states of a node.
const (
	starting int32 = iota // no attempt has come to an end
	online
	offline
)

// Node is this process as one of the nodes that share their limits. One is
// enough for all zones with the same server. It is safe for concurrent use.
type Node struct {
	cfg  Config
	id   string
	dial func(context.Context) (server, error)

	state atomic.Int32
	alive atomic.Int32 // nodes, as last known

	mu       sync.Mutex // guards all below
	zones    map[zoneID]*zone
	leaving  []*zone // closed, their leases are still to be given back
	watchers map[*watcher]struct{}
	counts   Stats
	lastErr  error
	server   server
	closed   bool

	worker worker
	stop   context.CancelFunc
	done   chan struct{}
}

// server is the other end. Its methods are called with a deadline.
type server interface {
	// beat says that node id is alive for ttl and returns how many are.
	beat(ctx context.Context, id string, ttl time.Duration) (int, error)
	// exchange makes all calls and sets their answers or errors. An error means
	// that the server as a whole could not be asked.
	exchange(ctx context.Context, calls []call) error
	// leave ends the heartbeat of a node.
	leave(ctx context.Context, id string) error
	// forget deletes a key.
	forget(ctx context.Context, key string) error
	close()
}

// call is one exchange about one key.
type call struct {
	zone   *zone
	ask    lease.Ask
	answer lease.Answer
	err    error
}

// New starts a node. It neither waits for the server nor fails because of it: a
// node without a server is offline, and tries again by itself. The error is about
// the config. Close ends the node.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return start(cfg, func(ctx context.Context) (server, error) { return connect(ctx, cfg) }), nil
}

func start(cfg Config, dial func(context.Context) (server, error)) *Node {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	ctx, stop := context.WithCancel(context.Background())
	n := &Node{
		cfg: cfg, id: hex.EncodeToString(id[:]), dial: dial,
		zones: make(map[zoneID]*zone), watchers: make(map[*watcher]struct{}),
		stop: stop, done: make(chan struct{}),
	}
	n.alive.Store(1)
	go n.run(ctx)
	return n
}

// Nodes returns the number of nodes alive, this one included, as last known: at
// least 1. It costs one atomic load.
func (n *Node) Nodes() int { return int(n.alive.Load()) }

// Close gives all leases back, takes the node off the list and ends its
// connection, within two timeouts, and one per address if a connection is just
// being made.
// Zones of a closed node behave as without a server. More calls do nothing.
func (n *Node) Close() {
	n.mu.Lock()
	closed := n.closed
	n.closed = true
	n.mu.Unlock()
	if !closed {
		n.stop()
	}
	<-n.done
}

// watcher is one subscriber of the state. Its mutex keeps its calls in order.
type watcher struct {
	mu   sync.Mutex
	told int32
	f    func(connected bool, err error)
}

func (w *watcher) tell(state int32, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellLocked(state, err)
}

func (w *watcher) tellLocked(state int32, err error) {
	if state != w.told {
		w.told = state
		w.f(state == online, err)
	}
}

// Watch calls f when the server is reached and when it is lost, with the reason,
// and once for the state of now unless the first attempt is still under way. The
// calls come one at a time from the goroutine of the node or of Watch; f must not
// block. stop ends it; a call under way may still be running then.
func (n *Node) Watch(f func(connected bool, err error)) (stop func()) {
	w := &watcher{f: f}
	w.mu.Lock() // a change that comes meanwhile is told after the state of now
	defer w.mu.Unlock()
	n.mu.Lock()
	n.watchers[w] = struct{}{}
	state, err := n.state.Load(), n.lastErr
	n.mu.Unlock()
	w.tellLocked(state, err)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.watchers, w)
	}
}

// become sets the state and tells the watchers.
func (n *Node) become(state int32, err error) {
	n.mu.Lock()
	n.lastErr = err
	if err != nil {
		n.counts.Errors++
		n.counts.LastError = err.Error()
		n.counts.ErrorAt = time.Now()
	}
	changed := n.state.Swap(state) != state
	var told []*watcher
	if changed {
		for w := range n.watchers {
			told = append(told, w)
		}
	}
	n.mu.Unlock()
	for _, w := range told {
		w.tell(state, err)
	}
}

// Zone joins the zone of a name with a limit. Zones of the same name and limit in
// one process are one; with another limit they use the same buckets on the
// server, which take the new rate over at once, but nothing else: an instance
// that is made and dropped without being used changes nothing for the others. The
// name must not be empty nor contain braces. Close the zone when it is not needed
// any more.
func (n *Node) Zone(name string, l lease.Limit) (*Zone, error) {
	if name == "" || containsBrace(name) {
		return nil, fmt.Errorf("zone %q: the name must not be empty nor contain braces", name)
	}
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("zone %q: %w", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	id := zoneID{name: name, limit: l}
	z := n.zones[id]
	if z == nil {
		z = newZone(n, id)
		n.zones[id] = z
	}
	z.refs++
	return &Zone{shared: z}, nil
}
