// Package topk finds the most frequent keys of a stream in bounded memory.
package topk

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
)

// Sketch counts the most frequent keys: Space-Saving (Metwally, Agrawal and El
// Abbadi, 2005). A key that makes up more than one part in its size of the stream
// is always in it. It is safe for concurrent use. Use New to make one.
type Sketch struct {
	mu      sync.Mutex
	size    int
	entries map[string]*entry
	order   order
}

// Count is one key of a sketch.
type Count struct {
	// Key is as it was given to Add.
	Key string
	// Count is how often it was seen; at most Error too many.
	Count, Error uint64
}

type entry struct {
	Count
	place int
}

// New returns a sketch of at most size keys; size is at least 1.
func New(size int) *Sketch {
	return &Sketch{size: max(size, 1), entries: make(map[string]*entry)}
}

// Add counts one of a key. Once the sketch is full a new key takes the place of
// the rarest one.
func (s *Sketch) Add(key []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[string(key)]
	switch {
	case e != nil:
	case len(s.order) < s.size:
		e = &entry{Count: Count{Key: string(key)}, place: len(s.order)}
		s.entries[e.Key] = e
		heap.Push(&s.order, e)
	default:
		e = s.order[0]
		delete(s.entries, e.Key)
		e.Key, e.Error = string(key), e.Count.Count
		s.entries[e.Key] = e
	}
	e.Count.Count++
	heap.Fix(&s.order, e.place)
}

// Top returns at most n keys, the most frequent one first.
func (s *Sketch) Top(n int) []Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Count, len(s.order))
	for i, e := range s.order {
		all[i] = e.Count
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	return all[:min(n, len(all))]
}

// order is a heap whose first entry is the rarest key.
type order []*entry

func (o order) Len() int           { return len(o) }
func (o order) Less(i, j int) bool { return o[i].Count.Count < o[j].Count.Count }
func (o order) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i, j
}

func (o *order) Push(e any) { *o = append(*o, e.(*entry)) }

func (o *order) Pop() any {
	last := len(*o) - 1
	e := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return e
}
