package edgebreaker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// counters are those of a backend, resolved once.
type counters struct {
	classes     [6]prometheus.Counter
	errors      [failures]prometheus.Counter
	transitions [3]prometheus.Counter
	reinstated  prometheus.Counter
	duration    prometheus.Observer

	label   string
	holders int         // configs that name the backend
	used    atomic.Bool // since the last round
	gone    atomic.Bool // the label made room for another
}

// mostLabels bounds the backends that have metrics of their own. When there are so many,
// one that no config names makes room with its series, at first one that was not used
// since the last round. Where all are named, further ones count together.
const (
	mostLabels  = 1024
	otherLabels = "other"
)

// labels are those that have metrics.
type labels struct {
	known sync.Map // of string to *counters

	mu   sync.Mutex
	n    int         // of known, but for otherLabels
	ring []*counters // those that nobody holds, in the order in which they are looked at
	hand int
}

// countersOf returns the counters of a label.
func countersOf(label string) *counters { return collectors().of(label) }

// countersIfAny returns the counters of a label that exists, or nil.
func countersIfAny(label string) *counters { return collectors().find(label) }

func (m *metricSet) of(label string) *counters {
	if c := m.find(label); c != nil {
		c.touch()
		return c
	}
	m.labels.mu.Lock()
	defer m.labels.mu.Unlock()
	return m.add(label)
}

func (m *metricSet) find(label string) *counters {
	c, _ := m.labels.known.Load(label)
	have, _ := c.(*counters)
	return have
}

// hold returns the counters of a label that a config names, for which it stays until
// release.
func (m *metricSet) hold(label string) *counters {
	l := &m.labels
	l.mu.Lock()
	defer l.mu.Unlock()
	c := m.add(label)
	if i := slices.Index(l.ring, c); i >= 0 {
		l.ring = slices.Delete(l.ring, i, i+1)
	}
	c.holders++
	return c
}

// release takes back one hold. The series stay, as long as there is room.
func (m *metricSet) release(c *counters) {
	l := &m.labels
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.holders--; c.holders == 0 && c.label != otherLabels {
		l.enter(c)
	}
}

// enter puts a label where the next round comes to it last.
func (l *labels) enter(c *counters) {
	l.hand = min(l.hand, len(l.ring))
	l.ring = slices.Insert(l.ring, l.hand, c)
	l.hand++
}

// touch keeps the label from being the first to go. It seldom writes.
func (c *counters) touch() {
	if !c.used.Load() {
		c.used.Store(true)
	}
}

// add returns the counters of a label, new ones if need be. The caller holds the lock.
func (m *metricSet) add(label string) *counters {
	l := &m.labels
	if c := m.find(label); c != nil {
		return c
	}
	if label != otherLabels && l.n >= mostLabels && !m.makeRoom() {
		return m.add(otherLabels)
	}
	c := m.resolve(strings.Clone(label))
	l.known.Store(c.label, c)
	if label != otherLabels {
		l.n++
		l.enter(c)
	}
	return c
}

// makeRoom takes a label away. It is false when all are held.
func (m *metricSet) makeRoom() bool {
	l := &m.labels
	for range 2 * len(l.ring) {
		l.hand %= len(l.ring)
		c := l.ring[l.hand]
		if c.used.Swap(false) {
			l.hand++
			continue
		}
		l.ring = slices.Delete(l.ring, l.hand, l.hand+1)
		l.known.Delete(c.label)
		l.n--
		c.gone.Store(true)
		m.forget(c.label)
		return true
	}
	return false
}

// resolve makes the series of a label.
func (m *metricSet) resolve(label string) *counters {
	c := &counters{label: label, duration: m.duration.WithLabelValues(label), reinstated: m.reinstated.WithLabelValues(label)}
	for i := range c.classes {
		if i > 0 {
			c.classes[i] = m.requests.WithLabelValues(label, className(i))
		}
	}
	for i := range c.errors {
		if failure(i) != failureNone {
			c.errors[i] = m.errors.WithLabelValues(label, failure(i).String())
		}
	}
	for s := range c.transitions {
		c.transitions[s] = m.transitions.WithLabelValues(label, breaker.State(s).String())
	}
	return c
}

// forget deletes the series of a label.
func (m *metricSet) forget(label string) {
	m.duration.DeleteLabelValues(label)
	m.reinstated.DeleteLabelValues(label)
	for i := range len(counters{}.classes) {
		m.requests.DeleteLabelValues(label, className(i))
	}
	for i := range failures {
		m.errors.DeleteLabelValues(label, failure(i).String())
	}
	for s := range len(counters{}.transitions) {
		m.transitions.DeleteLabelValues(label, breaker.State(s).String())
	}
}

func className(class int) string { return fmt.Sprintf("%dxx", class) }
