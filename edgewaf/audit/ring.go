package audit

import (
	"slices"
	"sync"
)

// Ring keeps the latest events. The zero value keeps none; it is safe for concurrent use.
type Ring struct {
	mu     sync.Mutex
	events []Event
	next   int
	total  uint64
}

// NewRing returns a ring that keeps n events.
func NewRing(n int) *Ring { return &Ring{events: make([]Event, 0, n)} }

// Add keeps an event, and forgets the oldest one if there are too many.
func (r *Ring) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	switch {
	case cap(r.events) == 0:
	case len(r.events) < cap(r.events):
		r.events = append(r.events, e)
	default:
		r.events[r.next] = e
		r.next = (r.next + 1) % len(r.events)
	}
}

// Latest returns the latest events that fit, n at most, the newest first.
func (r *Ring) Latest(n int, fits func(*Event) bool) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Event
	for i := len(r.events) - 1; i >= 0 && len(list) < n; i-- {
		if e := &r.events[(r.next+i)%len(r.events)]; fits == nil || fits(e) {
			list = append(list, *e)
		}
	}
	return list
}

// Resize returns a ring that keeps n events, with the latest ones of this one.
func (r *Ring) Resize(n int) *Ring {
	if cap(r.events) == n {
		return r
	}
	out := NewRing(n)
	latest := r.Latest(n, nil)
	for _, e := range slices.Backward(latest) {
		out.Add(e)
	}
	out.total = r.Total()
	return out
}

// Total returns how many events there were.
func (r *Ring) Total() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}
