package edgecache

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Sizes of a spool's chunks and windows.
const (
	firstChunk  = 4 << 10
	maxChunk    = 1 << 20
	bigWindow   = 4 << 20
	smallWindow = 64 << 10
	windowChunk = 32 << 10
)

// errStalled ends a reader that took nothing for so long that the others, or
// the origin, would have to wait for it.
var errStalled = errors.New("client takes no data")

// errBehind ends a reader that went back to what the window has left: several
// ranges in any order of a body that is not kept.
var errBehind = errors.New("body is no longer there")

// memoryBudget is what a spool charges its bytes to.
type memoryBudget interface {
	Reserve(n int64) bool
	Charge(n int64)
	Release(n int64)
}

// spool is a response body with one producer and many readers. It keeps the body
// whole while it may be stored; once that is given up it becomes a window, and
// the producer waits for the slowest reader.
//
// Published chunks are never changed, so readers use them without the lock.
type spool struct {
	budget memoryBudget
	stall  time.Duration // a reader that takes nothing for so long is dropped

	mu       sync.Mutex
	wake     chan struct{} // closed at every change; nil when nobody waits
	chunks   [][]byte
	base     int64 // offset of the first chunk
	size     int64 // bytes produced
	reserved int64 // bytes charged to the budget
	limit    int64 // whole bodies may grow to this
	hint     int64 // announced length, -1 when unknown
	window   int64 // 0: the body is kept whole
	readers  map[*spoolReader]struct{}
	refused  bool // the budget had no room for the body
	leaving  bool // charged only for what the last readers have not taken
	ended    bool
	err      error
	onLost   func() // called without lock, once, when the body stops being whole
}

func newSpool(budget memoryBudget, stall time.Duration) *spool {
	return &spool{budget: budget, stall: stall, hint: -1, readers: make(map[*spoolReader]struct{})}
}

// broadcastLocked wakes everybody who waits for a change.
func (s *spool) broadcastLocked() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// changedLocked returns a channel that is closed at the next change.
func (s *spool) changedLocked() <-chan struct{} {
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// keep sets how large a whole body may become. Zero makes a window at once.
func (s *spool) keep(limit, hint int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.hint = limit, hint
	if limit == 0 {
		s.shrinkLocked()
	}
}

// whole reports whether everything produced so far is still there.
func (s *spool) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window == 0
}

// write appends p, waiting for slow readers when the spool is a window.
func (s *spool) write(ctx context.Context, p []byte) error {
	var lost func()
	s.mu.Lock()
	for len(p) > 0 {
		if s.window > 0 {
			if err := s.waitRoomLocked(ctx); err != nil {
				s.mu.Unlock()
				return err
			}
		} else if s.size+int64(len(p)) > s.limit {
			lost = s.becomeWindowLocked()
			continue
		}
		n := s.appendLocked(p)
		if n == 0 {
			lost = s.becomeWindowLocked()
			continue
		}
		p = p[n:]
	}
	s.broadcastLocked()
	s.mu.Unlock()
	if lost != nil {
		lost()
	}
	return nil
}

// appendLocked copies what fits into the last chunk or a new one; it returns 0
// when the budget has no room for a new one.
func (s *spool) appendLocked(p []byte) int {
	last := len(s.chunks) - 1
	if last < 0 || len(s.chunks[last]) == cap(s.chunks[last]) {
		n := s.chunkSizeLocked(len(p))
		if s.window == 0 {
			if !s.budget.Reserve(n) {
				s.refused = true
				return 0
			}
			s.reserved += n
		}
		s.chunks = append(s.chunks, make([]byte, 0, n))
		last++
		if s.window > 0 {
			s.chargeLocked(s.heldLocked())
		}
	}
	c := s.chunks[last]
	n := min(len(p), cap(c)-len(c))
	s.chunks[last] = append(c, p[:n]...)
	s.size += int64(n)
	return n
}

// chunkSizeLocked chooses the next chunk: the announced rest of the body, else
// twice the chunk before, so that small bodies waste little and large ones need
// few chunks.
func (s *spool) chunkSizeLocked(need int) int64 {
	if s.window > 0 {
		return windowChunk
	}
	if rest := s.hint - s.size; s.hint > 0 && rest > 0 {
		return min(rest, maxChunk)
	}
	size := int64(firstChunk)
	if last := len(s.chunks) - 1; last >= 0 {
		size = int64(cap(s.chunks[last])) * 2
	}
	return min(max(size, int64(need)), maxChunk)
}

// shrinkLocked makes a window of a body that is not kept from its start. Slow
// clients hold it, so it is charged, and smaller when there is no room.
func (s *spool) shrinkLocked() {
	s.window = windowChunk
	if s.budget.Reserve(smallWindow) {
		s.window = smallWindow
		s.reserved += smallWindow
	}
	s.chargeLocked(s.window)
}

// chargeLocked sees to it that n bytes are charged: a window is needed whether there is
// room or not.
func (s *spool) chargeLocked(n int64) {
	if more := n - s.reserved; more > 0 {
		s.budget.Charge(more)
		s.reserved += more
	}
}

// becomeWindowLocked gives up keeping the body whole.
func (s *spool) becomeWindowLocked() func() {
	s.window = smallWindow
	if more := bigWindow - s.reserved; more <= 0 {
		s.window = bigWindow
	} else if s.budget.Reserve(more) {
		s.window = bigWindow
		s.reserved += more
	}
	s.chargeLocked(s.window)
	s.trimLocked()
	lost := s.onLost
	s.onLost = nil
	return lost
}

// trimLocked frees what every reader of a window has taken.
func (s *spool) trimLocked() {
	if s.window == 0 {
		return
	}
	low := s.size
	for r := range s.readers {
		if !r.dropped {
			low = min(low, r.pos)
		}
	}
	drop := 0
	for drop < len(s.chunks) && s.base+int64(len(s.chunks[drop])) <= low {
		last := drop == len(s.chunks)-1
		if last && !s.leaving && len(s.chunks[drop]) < cap(s.chunks[drop]) && s.size-s.base < s.window {
			break // it has room left, and is not in the producer's way
		}
		s.base += int64(len(s.chunks[drop]))
		s.chunks[drop] = nil
		drop++
	}
	s.chunks = s.chunks[drop:]
	s.settleLocked()
}

// waitRoomLocked blocks until the slowest reader has room in the window,
// dropping readers that stall.
func (s *spool) waitRoomLocked(ctx context.Context) error {
	for {
		s.trimLocked()
		if len(s.readers) == 0 || s.size-s.base < s.window {
			return ctx.Err()
		}
		s.broadcastLocked()
		ch := s.changedLocked()
		s.mu.Unlock()
		timer := time.NewTimer(s.stall)
		stalled := false
		select {
		case <-ch:
		case <-ctx.Done():
		case <-timer.C:
			stalled = true
		}
		timer.Stop()
		s.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if stalled {
			s.dropStalledLocked(time.Now())
		}
	}
}

func (s *spool) dropStalledLocked(now time.Time) {
	for r := range s.readers {
		if !r.dropped && now.Sub(r.moved) >= s.stall && s.size-r.pos > 0 {
			r.dropped = true
		}
	}
	s.broadcastLocked()
}

// end closes the spool; a nil error says that the body is complete.
func (s *spool) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended, s.err = true, err
	s.broadcastLocked()
}

// take hands the whole body and its reservation to the caller, who stores it, or
// brings the reservation back. Readers go on reading the same chunks.
func (s *spool) take() (chunks [][]byte, size, reserved int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reserved, s.reserved = s.reserved, 0
	return s.chunks, s.size, reserved
}

// untake takes a reservation back from a taker that did not store the body.
func (s *spool) untake(reserved int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved += reserved
}

// discharge ends the charge for a body that is not stored: at once without readers,
// else as they take what is left of it.
func (s *spool) discharge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	s.trimLocked()
	s.settleLocked()
}

// settleLocked gives back what is charged beyond the chunks that readers wait for.
func (s *spool) settleLocked() {
	need := s.heldLocked()
	switch {
	case !s.leaving:
		need = max(need, s.window)
	case len(s.readers) == 0:
		need = 0
	}
	if excess := s.reserved - need; excess > 0 {
		s.reserved -= excess
		s.budget.Release(excess)
	}
}

// heldLocked returns the memory of the chunks.
func (s *spool) heldLocked() (held int64) {
	for _, c := range s.chunks {
		held += int64(cap(c))
	}
	return held
}
