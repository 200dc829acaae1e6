package edgecache

import (
	"sync"
	"sync/atomic"
)

// flights is the table of running fetches by key. It belongs to the handler
// instance, never to the pool: another configuration may have other upstreams.
type flights struct {
	mu      sync.Mutex
	byKey   map[string]*flight
	running map[*flight]struct{}
	stopped bool
	orphans atomic.Int64 // running flights without a reader
}

// maxOrphans caps the fetches that go on without any client: background
// refreshes and those whose clients left.
const maxOrphans = 256

func newFlights() *flights {
	return &flights{byKey: make(map[string]*flight), running: make(map[*flight]struct{})}
}

// joinOrStart returns the flight for a key, making it with start when there is
// none that usable accepts. leads says that the caller has to run it. A flight
// with an empty key is private: nobody finds it. start may return nil, and then
// there is no flight.
func (t *flights) joinOrStart(key string, usable func(*flight) bool, start func() *flight) (f *flight, leads bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f = t.byKey[key]; f != nil && usable(f) {
		return f, false
	}
	if f = start(); f == nil {
		return nil, false
	}
	t.running[f] = struct{}{}
	f.private = key == ""
	switch {
	case t.stopped:
		f.attach() // the configuration is gone: nobody else will want it
	case key != "":
		t.byKey[key] = f
	}
	return f, true
}

// alias lets a flight be found under one more key, if no other has it. Private
// flights stay so.
func (t *flights) alias(f *flight, key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKey[key] == nil && !f.private {
		t.byKey[key] = f
	}
}

// closeJoin takes a flight out of the table: nobody else joins it.
func (t *flights) closeJoin(f *flight, keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		if t.byKey[k] == f {
			delete(t.byKey, k)
		}
	}
}

// ended forgets a flight.
func (t *flights) ended(f *flight, keys ...string) {
	t.closeJoin(f, keys...)
	t.mu.Lock()
	delete(t.running, f)
	t.mu.Unlock()
}

// stop ends the flights that nobody reads, and makes those that lose their last
// reader from now on end too.
func (t *flights) stop() {
	t.mu.Lock()
	t.stopped = true
	running := make([]*flight, 0, len(t.running))
	for f := range t.running {
		running = append(running, f)
	}
	t.mu.Unlock()
	for _, f := range running {
		f.attach()
	}
}
