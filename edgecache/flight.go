package edgecache

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// answer is what a flight came to, published once and never changed afterwards.
// One of object, err and code says what it is.
type answer struct {
	object *object.Object // use this stored response: a validated or a stale one
	err    error          // the next handler failed; each reader returns it
	code   int            // status of the response that is being spooled

	shared  bool              // readers other than the leader may use it
	stale   bool              // object is served although it is stale
	retry   bool              // look again: the stored response was of no use
	forward int               // status of the origin's reply when another one is served
	header  http.Header       // the spooled response's, for the leader; with err, what the handlers said of it
	common  http.Header       // the same as everyone may see it
	length  int64             // announced body length, -1 when unknown
	stored  bool              // it is being stored
	fresh   rfc9111.Freshness // when stored
	tags    []string
	key     string   // what the response is stored under
	vary    []string // readers whose requests select another variant must not use it
	reason  reason   // why it is not stored, or where its lifetime comes from
}

// flight is one fetch and everybody who waits for it.
type flight struct {
	spool    *spool
	table    *flights
	cancel   context.CancelCauseFunc
	request  *http.Request // the detached one; its placeholders are read when finished
	leader   http.Header   // the header that selects the variant
	seq      uint64        // purge sequence at the start: later purges hit what it fetches
	url      string
	target   target
	started  time.Time
	timeout  time.Duration
	deadline *time.Timer
	finished chan struct{}
	private  bool // never found by others

	mu       sync.Mutex
	interim  []interim
	answer   *answer
	waiters  int
	orphan   bool // counted as running without readers
	attached bool // cancelled when the last reader leaves
	done     bool
	trailer  http.Header
}

// interim is a 1xx response.
type interim struct {
	status int
	header http.Header
}

// publish makes the answer known.
func (f *flight) publish(a *answer) {
	f.mu.Lock()
	if f.answer == nil {
		f.answer = a
	}
	f.mu.Unlock()
	f.wake()
}

// announce adds a 1xx response.
func (f *flight) announce(status int, h http.Header) {
	f.mu.Lock()
	f.interim = append(f.interim, interim{status, h})
	f.mu.Unlock()
	f.wake()
}

// wake lets everybody look again.
func (f *flight) wake() {
	f.spool.mu.Lock()
	f.spool.broadcastLocked()
	f.spool.mu.Unlock()
}

// state returns the answer and the 1xx responses after the first seen ones.
func (f *flight) state(seen int) (*answer, []interim) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answer, f.interim[seen:]
}

// enter counts a reader in; it fails beyond the cap, and for a fetch that is
// about to be cancelled.
func (f *flight) enter(limit int, now time.Time) (*spoolReader, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiters >= limit || f.attached || f.done {
		return nil, false
	}
	r, ok := f.spool.join(now)
	if !ok {
		return nil, false
	}
	f.waiters++
	f.setOrphanLocked(false)
	return r, true
}

// exit counts a reader out. Without readers, an attached fetch ends, and so does
// one that is past its deadline or one too many.
func (f *flight) exit(r *spoolReader) {
	f.spool.leave(r)
	f.mu.Lock()
	f.waiters--
	end := false
	if f.waiters == 0 && !f.done {
		end = f.attached || time.Since(f.started) > f.timeout || !f.setOrphanLocked(true)
		f.attached = f.attached || end // nobody joins it any more
	}
	f.mu.Unlock()
	if end {
		f.cancel(errClientGone)
	}
}

// attach ties the fetch to its readers: there is nothing to gain without them.
func (f *flight) attach() {
	f.mu.Lock()
	f.attached = true
	end := f.waiters == 0 && !f.done
	f.mu.Unlock()
	if end {
		f.cancel(errClientGone)
	}
}

// expire is the deadline: a fetch without a response header by then fails, one
// without readers ends.
func (f *flight) expire() {
	f.mu.Lock()
	end := !f.done && (f.answer == nil || f.waiters == 0)
	f.attached = f.attached || end
	f.mu.Unlock()
	if end {
		f.cancel(errFetchTimeout)
	}
}

// setOrphanLocked keeps the count of fetches without readers; false says that
// there are too many.
func (f *flight) setOrphanLocked(orphan bool) bool {
	if orphan == f.orphan {
		return true
	}
	f.orphan = orphan
	if orphan {
		return f.table.orphans.Add(1) <= maxOrphans
	}
	f.table.orphans.Add(-1)
	return true
}

// settleTime is how long the last bytes of a response may wait for it to be
// stored. It is a matter of microseconds, unless the next handler goes on working
// behind its response.
const settleTime = 20 * time.Millisecond

// settle waits a moment for the end of the flight, so that a client that has the
// whole response and asks again gets it from the store.
func (f *flight) settle() {
	select {
	case <-f.finished:
		return
	default:
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-f.finished:
	case <-timer.C:
	}
}

// finish closes the flight: err is nil when the response is complete.
func (f *flight) finish(err error, trailer http.Header) {
	f.mu.Lock()
	f.done = true
	f.trailer = trailer
	f.setOrphanLocked(false)
	f.mu.Unlock()
	f.deadline.Stop()
	f.spool.end(err)
	f.cancel(nil)
	close(f.finished)
}

// await returns the answer, handing 1xx responses to the client on the way.
func (f *flight) await(ctx context.Context, w http.ResponseWriter, timeout <-chan time.Time) (*answer, error) {
	seen := 0
	for {
		f.spool.mu.Lock()
		ch := f.spool.changedLocked()
		f.spool.mu.Unlock()
		a, early := f.state(seen)
		for _, i := range early {
			writeInterim(w, i)
		}
		seen += len(early)
		if a != nil {
			return a, nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timeout:
			return nil, errWaitTimeout
		}
	}
}

// writeInterim sends a 1xx response and leaves the header map as it was: fields
// of interim responses do not belong to the final one.
func writeInterim(w http.ResponseWriter, i interim) {
	h := w.Header()
	before := h.Clone()
	for name, values := range i.header {
		h[name] = slices.Clone(values) // the other readers have them too, and handlers in front may change them in place
	}
	w.WriteHeader(i.status)
	clear(h)
	maps.Copy(h, before)
}
