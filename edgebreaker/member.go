package edgebreaker

import (
	"cmp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddyedge/caddy-edge/edgebreaker/balance"
	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// member is what a policy remembers of one upstream.
type member struct {
	dial     string // as configured
	expands  bool   // it has placeholders
	address  string // the key of its backend; "": it is not valid, or only known to a request
	name     any    // the address, boxed
	counters *counters
	// backend is that of the address while the policy holds it, so that it needs no look-up.
	backend atomic.Pointer[breaker.Backend]
	weight  int
	turn    balance.Turn
	// reinstated is set while the backend is used though it is open.
	reinstated atomic.Bool
	downAt     atomic.Int64 // since when it has been seen not healthy, from start; 0: it was healthy when it was last looked at
}

// sawDown notes that the upstream is not healthy.
func (m *member) sawDown(now time.Time) {
	if m.downAt.Load() == 0 {
		m.downAt.CompareAndSwap(0, int64(now.Sub(start)))
	}
}

// sawUp notes that it is healthy, and tells once since when it was not.
func (m *member) sawUp() (since time.Time, was bool) {
	if m.downAt.Load() == 0 {
		return time.Time{}, false
	}
	at := m.downAt.Swap(0)
	return start.Add(time.Duration(at)), at != 0
}

func (m *member) down() bool { return m.downAt.Load() != 0 }

func newMember(dial string, weight int) *member {
	m := &member{dial: strings.Clone(dial), weight: weight, expands: strings.Contains(dial, "{")}
	if !m.expands {
		m.address = addressOf(m.dial)
	}
	m.name = m.address
	return m
}

// label is that of the metrics.
func (m *member) label() string { return cmp.Or(m.address, m.dial) }

// nameOf boxes an address.
func (m *member) nameOf(address string) any {
	if m.expands {
		return address
	}
	return m.name
}

// addressOf returns the key of a backend: its dial address in one spelling, "" if
// there is something wrong with it.
func addressOf(dial string) string {
	a, err := caddy.ParseNetworkAddress(dial)
	if err != nil || a.PortRangeSize() != 1 {
		return ""
	}
	if a.Network == "tcp" {
		a.Host = strings.ToLower(a.Host)
		return a.JoinHostPort(0)
	}
	return a.String()
}

// expand is addressOf for an address with placeholders.
func expand(dial string, repl *caddy.Replacer) string {
	if repl == nil {
		return ""
	}
	return addressOf(repl.ReplaceAll(dial, ""))
}

// mostMembers bounds what a policy remembers of upstreams that come and go.
const mostMembers = 4096

// table holds the members of a pool.
type table struct {
	// named are the upstreams of the config. Others come from a dynamic source: where
	// that has placeholders a client may choose them, and they count together.
	named  map[string]bool
	chosen bool

	last atomic.Pointer[[]*member] // in the order of the pool that was seen last

	mu    sync.Mutex
	known map[seat]*member
}

// seat is an address, and how often it comes before in the same pool.
type seat struct {
	dial string
	nth  int
}

// of returns the members of a pool, in its order. A pool that stays the same costs
// a comparison.
func (t *table) of(pool reverseproxy.UpstreamPool, weights []int) []*member {
	if last := t.last.Load(); last != nil && same(*last, pool) {
		return *last
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil || len(t.known) > mostMembers {
		t.known = make(map[seat]*member)
	}
	members := make([]*member, len(pool))
	for i, u := range pool {
		key := seat{dial: u.Dial}
		for _, before := range pool[:i] {
			if before.Dial == u.Dial {
				key.nth++
			}
		}
		m := t.known[key]
		if m == nil || m.counters.gone.Load() {
			m = newMember(u.Dial, weightOf(weights, i))
			m.counters = countersOf(t.label(m))
			key.dial = m.dial
			t.known[key] = m
		}
		members[i] = m
	}
	t.last.Store(&members)
	return members
}

// dynamicLabel is that of all upstreams which a client may choose.
const dynamicLabel = "dynamic"

func (t *table) label(m *member) string {
	if t.chosen && !t.named[m.dial] {
		return dynamicLabel
	}
	return m.label()
}

// weightOf is 1 where there are no weights.
func weightOf(weights []int, i int) int {
	if i < len(weights) {
		return weights[i]
	}
	return 1
}

func same(members []*member, pool reverseproxy.UpstreamPool) bool {
	if len(members) != len(pool) {
		return false
	}
	for i, u := range pool {
		m := members[i]
		if m.dial != u.Dial || m.counters.gone.Load() {
			return false
		}
		m.counters.touch()
	}
	return true
}

// members returns those of the pool that was seen last.
func (t *table) members() []*member {
	if last := t.last.Load(); last != nil {
		return *last
	}
	return nil
}
