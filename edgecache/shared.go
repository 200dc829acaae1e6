package edgecache

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/edgecache/tier/memory"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// pool holds the one store that all edge_cache handlers of the process share,
// over every configuration.
var pool = poolref.New[*shared]()

// sharedKey is the key of the one store.
const sharedKey = "memory"

// shared is what outlives a configuration: the stored responses and the purges.
type shared struct {
	memory *memory.Memory
	purges *purge.Table
	// variants is here and not with the handlers, whose configuration may be
	// reloaded often.
	variants *variants
	growth   heapGrowth

	charging sync.Mutex
	charged  int64 // bytes that are charged for purges

	wake chan struct{}
	stop chan struct{}
	gone sync.WaitGroup
}

// When the lurker goes through the store to free what purges hit: a while after
// a purge, or at once when many have come.
const (
	lurkerPause   = 10 * time.Second
	lurkerPending = 32 << 10
)

func newShared() (*shared, error) {
	m := memory.New(edgeapp.DefaultMemory)
	s := &shared{
		memory:   m,
		purges:   purge.New(),
		variants: newVariants(func() int64 { return variantLimit(m.Ledger().Budget()) }, m.ChargeIndex),
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
	}
	s.gone.Go(s.lurk)
	return s, nil
}

// Destruct ends the store with its last user.
func (s *shared) Destruct() error {
	close(s.stop)
	s.gone.Wait()
	s.memory.Close()
	s.growth.follow(0)
	return nil
}

var _ caddy.Destructor = (*shared)(nil)

// purge adds purges; it takes no longer when more is stored.
func (s *shared) purge(ps ...purge.Purge) {
	s.purges.Add(ps...)
	s.chargePurges()
	if s.purges.Outstanding() >= lurkerPending {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// chargePurges brings what is charged for the purges up to date.
func (s *shared) chargePurges() {
	s.charging.Lock()
	defer s.charging.Unlock()
	if more := s.purges.Bytes() - s.charged; more != 0 {
		s.charged += more
		s.memory.ChargeIndex(more)
	}
}

// lurk frees purged objects behind everybody's back.
func (s *shared) lurk() {
	ticker := time.NewTicker(lurkerPause)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case <-ticker.C:
			s.growth.follow(s.memory.Stats().Bytes)
		}
		if s.purges.Outstanding() > 0 {
			s.sweep()
		}
	}
}

func (s *shared) sweep() {
	s.purges.Sweep(
		func(yield func(*object.Object) bool) { s.memory.Range(yield) },
		func(o *object.Object) { s.memory.Drop(o) },
	)
	s.chargePurges()
}

// lookup returns the stored response with a key that no purge hit.
func (s *shared) lookup(key string) *object.Object {
	o, ok := s.memory.Get(key)
	if !ok {
		return nil
	}
	if o.CheckedSeq() == s.purges.Seq() {
		return o
	}
	switch s.purges.Check(o) {
	case purge.Gone:
		s.memory.Drop(o)
		return nil
	case purge.Live, purge.Soft: // Check has marked what is stale
	}
	return o
}
