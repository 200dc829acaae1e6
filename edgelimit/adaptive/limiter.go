package adaptive

import (
	"sync"
	"time"
)

// Limiter bounds the requests in flight towards an origin; the package
// documentation says how. It is safe for concurrent use. Use New to make one.
//
// Each method takes the present time. Times that go backwards a little, as they
// do between goroutines, count as the latest one seen.
type Limiter struct {
	epoch time.Time

	mu      sync.Mutex // guards everything below, and all records
	cfg     Config
	now     int64 // ns since epoch
	limit   float64
	uncut   uncut
	target  time.Duration
	held    [holdings]int // requests by what they hold; under holdsNothing those that ended
	waiting queue

	window   window
	windows  uint32 // the number of this one, from 1 on
	baseline baseline
	clients  clientTable
	active   activeClients

	level      float64 // of the fair share
	levelUntil int64   // ns
	usages     []float64

	uploading  recordList // in a slot, body not read to its end; oldest first
	responding recordList // header sent, no stream yet; oldest first
	lingering  recordList // released, the origin is still at work
	free       *record

	state                State
	reducedAt, refusedAt int64
	admitted             uint64
	refused              [reasons]uint64
	last                 Percentiles
}

// Request is what the limiter must know of a request.
type Request struct {
	// Client is a seeded hash of whatever tells clients apart.
	Client uint64
	// Class is the priority; a number that is no class counts as Normal.
	Class Class
	// Body says that the request has a body, the end of which will be reported
	// by Ticket.BodyRead.
	Body bool
}

// When a request gives its slot back while it lasts (ns).
const (
	uploadAfter = int64(500e6)
	streamAfter = int64(5e9)
)

// longestLinger is how long an abandoned request keeps its slot at most.
const longestLinger = 5 * time.Second

// New returns a limiter with nothing learned.
func New(cfg Config, now time.Time) (*Limiter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	l := &Limiter{
		epoch:     now,
		cfg:       cfg,
		limit:     float64(cfg.Initial),
		target:    cfg.Target,
		clients:   newClientTable(clientEntries),
		windows:   1,
		reducedAt: never,
		refusedAt: never,
	}
	l.baseline.rotateAt = baselinePeriod
	return l, nil
}

// Acquire admits a request or refuses it, at once. A caller that was given a
// ticket must release it, whatever happens.
func (l *Limiter) Acquire(now time.Time, r Request) (Ticket, Refusal) {
	l.mu.Lock()
	l.tick(now)
	ticket, refused := l.admit(r)
	if refused.Refused() {
		l.count(refused.Reason)
	}
	l.unlock()
	return ticket, refused
}

// Reconfigure applies another configuration and keeps what was learned: the
// limit, brought into the new bounds, the usage of the clients and the baseline.
// Initial does not matter then. An error changes nothing.
func (l *Limiter) Reconfigure(now time.Time, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.unlock()
	l.tick(now)
	l.cfg = cfg.withDefaults()
	l.limit = l.uncut.bound(l.limit, float64(l.cfg.Min), float64(l.cfg.Max))
	l.retarget()
	l.dispatch()
	return nil
}

// tick brings the limiter up to the present: requests that last too long leave
// their slots.
func (l *Limiter) tick(now time.Time) {
	l.now = max(l.now, int64(now.Sub(l.epoch)))
	freed := false
	for r := l.uploading.first; r != nil && l.now-r.slotAt >= uploadAfter; r = l.uploading.first {
		l.uploading.remove(r)
		l.move(r, holdsUpload)
		freed = true
	}
	for r := l.responding.first; r != nil && l.now-r.headerAt >= streamAfter; r = l.responding.first {
		l.responding.remove(r)
		l.move(r, holdsStream)
		freed = true
	}
	for r := l.lingering.first; r != nil && l.now >= r.lingerTo; r = l.lingering.first {
		l.lingering.remove(r)
		l.end(r)
		freed = true
	}
	if freed {
		l.dispatch()
	}
}

// unlock unlocks mu and reports a change of state, if there was one.
func (l *Limiter) unlock() {
	state := stateAt(l.now, l.reducedAt, l.refusedAt)
	if state == l.state {
		l.mu.Unlock()
		return
	}
	change := Change{From: l.state, To: state, At: l.epoch.Add(time.Duration(l.now)), Limit: int(l.limit), P95: l.last.P95}
	l.state = state
	report := l.cfg.OnChange
	l.mu.Unlock()
	if report != nil {
		report(change)
	}
}

// admit gives the request a slot or says why not. It counts no refusal.
func (l *Limiter) admit(r Request) (Ticket, Refusal) {
	l.active.see(mixed(r.Client), l.now)
	if r.Class >= classes {
		r.Class = Normal
	}
	if r.Body && (l.full(holdsUpload, r.Client) || l.stages(r.Client)) {
		return Ticket{}, l.refusal(UploadsFull)
	}
	// Its responses may come to last, too, and then it is too late to refuse.
	if l.hogs(holdsStream, r.Client) {
		return Ticket{}, l.refusal(StreamsFull)
	}
	// The share is looked at first: who is over it must not wait for room.
	if wait := l.overShare(r); wait > 0 {
		return Ticket{}, refusal(OverShare, wait)
	}
	if !l.room(r.Class) {
		return Ticket{}, l.refusal(LimitReached)
	}
	return l.grant(r), Refusal{}
}

// room reports whether a request of the class finds a free slot.
func (l *Limiter) room(c Class) bool {
	return l.held[holdsSlot] < max(int(l.limit*classShares[c]), 1)
}

func (l *Limiter) refusal(reason Reason) Refusal {
	retry := l.last.P95
	if retry == 0 {
		retry = l.target
	}
	return refusal(reason, retry)
}

// count notes a refusal.
func (l *Limiter) count(reason Reason) {
	l.refused[reason]++
	switch reason {
	case LimitReached, OverShare, QueueFull, QueueDeadline:
		l.window.refused = true
		l.refusedAt = l.now
	case UploadsFull, StreamsFull:
		l.refusedAt = l.now
	case Admitted, ClientLeft, reasons:
	}
}

// grant takes a slot.
func (l *Limiter) grant(r Request) Ticket {
	rec := l.free
	if rec == nil {
		rec = new(record)
	} else {
		l.free = rec.next
	}
	*rec = record{gen: rec.gen, client: r.Client, slotAt: l.now, clock: l.now, holds: holdsSlot}
	_, rec.ref = l.clients.take(r.Client, l.now)
	l.clients.add(rec.ref, l.now, holdsSlot, 1)
	l.admitted++
	l.held[holdsSlot]++
	l.window.peak = max(l.window.peak, l.held[holdsSlot])
	if r.Body {
		rec.uploading = true
		l.uploading.push(rec)
	}
	return Ticket{limiter: l, record: rec, gen: rec.gen}
}

// move changes what the request holds; to holdsNothing ends it.
func (l *Limiter) move(r *record, to holding) {
	known := l.clients.add(r.ref, l.now, r.holds, -1)
	if to != holdsNothing {
		l.clients.add(r.ref, l.now, to, 1)
	}
	if !known && r.holds == holdsSlot {
		l.clients.charge(r.client, l.now, l.now-r.slotAt)
	}
	l.held[r.holds]--
	l.held[to]++
	r.holds = to
	if to == holdsSlot {
		r.slotAt = l.now
		l.window.peak = max(l.window.peak, l.held[holdsSlot])
	}
}

// sample counts what became of a request, and moves the limit when the window is
// full.
func (l *Limiter) sample(kind sampleKind, latency time.Duration) {
	if l.now < l.window.start {
		return
	}
	switch kind {
	case sampleTimeout:
		l.window.timeouts++
		fallthrough
	case sampleLatency:
		l.window.latency.Record(latency)
	case sampleImpatient:
		l.window.impatient++
	}
	if l.window.full(l.now) {
		l.judge()
	}
}

// judge ends the window.
func (l *Limiter) judge() {
	used := l.window.used(l.limit)
	if l.window.latency.Len() > 0 {
		l.last = percentiles(&l.window.latency)
		l.baseline.add(l.last.P50, !used || l.limit <= float64(l.cfg.Min), l.now)
		l.retarget()
	}

	before := l.limit
	l.limit = l.bounded(moved(before, l.window.pressure(l.last, l.target), used))
	start := l.now
	if l.limit != before {
		start += int64(min(l.last.P95, longestSettle))
	}
	l.window.restart(start, l.held[holdsSlot])
	l.windows = max(l.windows+1, 1)
	if l.limit < before {
		l.reducedAt = l.now
	} else {
		l.dispatch()
	}
}

func (l *Limiter) bounded(limit float64) float64 {
	return min(max(limit, float64(l.cfg.Min)), float64(l.cfg.Max))
}

func (l *Limiter) retarget() {
	l.target = l.cfg.Target
	if learned := l.baseline.value(); l.cfg.BaselineFactor > 0 && learned > 0 {
		l.target = min(max(time.Duration(float64(learned)*l.cfg.BaselineFactor), leastTarget), time.Minute)
	}
}
