package adaptive

import "time"

// Ticket is the right of one request to be at the origin. It is a small value
// and may be copied; its methods may be called by several goroutines. After
// Release, and on the zero Ticket, they do nothing.
type Ticket struct {
	limiter *Limiter
	record  *record
	gen     uint64
}

// enter locks the limiter, if the ticket is still valid.
func (t Ticket) enter(now time.Time) (*Limiter, *record, bool) {
	if t.limiter == nil {
		return nil, nil, false
	}
	t.limiter.mu.Lock()
	if t.record.gen != t.gen {
		t.limiter.mu.Unlock()
		return nil, nil, false
	}
	t.limiter.tick(now)
	return t.limiter, t.record, true
}

// BodyRead says that the request body was read to its end: now the latency
// begins. A request that had moved to the uploads comes back to a slot, also
// above the limit. It does nothing for requests without a body.
func (t Ticket) BodyRead(now time.Time) {
	l, r, ok := t.enter(now)
	if !ok {
		return
	}
	defer l.unlock()
	if !r.uploading {
		return
	}
	r.uploading = false
	r.clock = l.now
	if !r.answered {
		l.uploading.remove(r)
		if r.holds == holdsUpload {
			l.move(r, holdsSlot)
		}
	}
}

// Header says that the first final response header came, which takes the
// sample. It must not be called for a 1xx. Only the first call counts.
func (t Ticket) Header(now time.Time) {
	l, r, ok := t.enter(now)
	if !ok {
		return
	}
	defer l.unlock()
	if r.answered {
		return
	}
	r.answered = true
	r.headerAt = l.now
	if r.uploading {
		l.uploading.remove(r)
	}
	if r.holds != holdsStream {
		l.responding.push(r)
	}
	l.take(r, sampleLatency, time.Duration(l.now-r.clock))
}

// Timeout says that the origin did not answer in time. This is a sample of the
// time it took or of twice the target, whichever is more.
func (t Ticket) Timeout(now time.Time) {
	l, r, ok := t.enter(now)
	if !ok {
		return
	}
	defer l.unlock()
	if !r.answered {
		l.take(r, sampleTimeout, max(time.Duration(l.now-r.clock), 2*l.target))
	}
}

// Abandoned says that the client left before the header came. If it had waited
// for longer than the target, this is a sample of that time. If most clients
// leave earlier, but after a quarter of the target, the limit falls as well; each
// client counts once in a window for that.
//
// Most origins go on with a request that nobody waits for. So the slot, and the
// client's usage, last beyond Release until the request has taken the P99 of the
// last window, at least the target and at most 5 s. Otherwise clients that abort
// each request at once would work the origin to death while they seem to use
// nothing.
func (t Ticket) Abandoned(now time.Time) {
	l, r, ok := t.enter(now)
	if !ok {
		return
	}
	defer l.unlock()
	if r.answered || r.uploading {
		return
	}
	r.lingerTo = r.clock + int64(min(max(l.last.P99, l.target), longestLinger))
	switch waited := time.Duration(l.now - r.clock); {
	case waited > l.target:
		l.take(r, sampleLatency, waited)
	case waited > l.target/4:
		if !r.sampled && l.clients.leaves(r.ref, l.windows) {
			l.sample(sampleImpatient, 0)
		}
	}
	r.sampled = true
}

// NoSample says that the latency of this request tells nothing about the
// origin: a transport error, an open breaker, a switched protocol.
func (t Ticket) NoSample() {
	if t.limiter == nil {
		return
	}
	t.limiter.mu.Lock()
	defer t.limiter.mu.Unlock()
	if t.record.gen == t.gen {
		t.record.sampled = true
	}
}

// Stream moves the request to the streams and frees its slot, for responses
// that last: WebSocket, server-sent events, gRPC streams. Before the header the
// cap may refuse it, with StreamsFull; the request then still holds its slot,
// and the caller refuses it and releases the ticket. After the header the move
// always succeeds. The header gives a sample as it does for any request.
func (t Ticket) Stream(now time.Time) Refusal {
	l, r, ok := t.enter(now)
	if !ok {
		return Refusal{}
	}
	defer l.unlock()
	if r.holds == holdsStream {
		return Refusal{}
	}
	if !r.answered && l.full(holdsStream, r.client) {
		l.count(StreamsFull)
		return l.refusal(StreamsFull)
	}
	l.unlist(r)
	l.move(r, holdsStream)
	l.dispatch()
	return Refusal{}
}

// Release ends the request, and frees whatever it holds. It belongs in a defer;
// further calls do nothing.
func (t Ticket) Release(now time.Time) {
	l, r, ok := t.enter(now)
	if !ok {
		return
	}
	defer l.unlock()
	l.release(r)
	l.dispatch()
}

// take takes the sample of a request, once, unless its body is on its way.
func (l *Limiter) take(r *record, kind sampleKind, latency time.Duration) {
	if r.sampled || r.uploading {
		return
	}
	r.sampled = true
	l.sample(kind, latency)
}

func (l *Limiter) unlist(r *record) {
	if r.answered {
		l.responding.remove(r)
	} else {
		l.uploading.remove(r)
	}
}

// release ends the ticket.
func (l *Limiter) release(r *record) {
	l.unlist(r)
	r.gen++
	if r.lingerTo > l.now && r.holds == holdsSlot && !r.answered {
		l.lingering.push(r)
		return
	}
	l.end(r)
}

// end frees what the request holds.
func (l *Limiter) end(r *record) {
	l.move(r, holdsNothing)
	r.next = l.free
	l.free = r
}
