package adaptive

import (
	"context"
	"time"
)

// queue holds the requests that wait for a slot, by class. A higher class is
// served before a lower one. Within a class the first to come is served first;
// once the queue has been standing, that is not empty for a whole deadline, the
// last one: the oldest will hardly be answered before their clients give up,
// and serving them would make everyone late.
type queue struct {
	byClass  [classes]waiterList
	byClient map[uint64]int // how many wait
	length   int
	since    int64 // ns, when it was last empty
}

// waiter is one request that waits. answered is sent to at most once, by the one
// who takes the waiter out of the queue.
type waiter struct {
	request    Request
	answered   chan verdict
	prev, next *waiter
	queued     bool
}

// verdict is what a request waited for.
type verdict struct {
	ticket  Ticket
	refused Refusal
}

type waiterList struct {
	first, last *waiter
}

const (
	// standingPart of the deadline is left to requests when the queue is standing.
	standingPart = 20
	// clientPart of the queue is what one client may fill, at least one place.
	clientPart = 4
)

func (q *queue) push(w *waiter, t int64) {
	if q.length == 0 {
		q.since = t
	}
	q.length++
	if q.byClient == nil {
		q.byClient = make(map[uint64]int)
	}
	q.byClient[w.request.Client]++
	w.queued = true
	list := &q.byClass[w.request.Class]
	w.prev = list.last
	if list.last == nil {
		list.first = w
	} else {
		list.last.next = w
	}
	list.last = w
}

func (q *queue) remove(w *waiter) {
	q.length--
	if q.byClient[w.request.Client]--; q.byClient[w.request.Client] == 0 {
		delete(q.byClient, w.request.Client)
	}
	w.queued = false
	list := &q.byClass[w.request.Class]
	if w.prev == nil {
		list.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		list.last = w.prev
	} else {
		w.next.prev = w.prev
	}
}

// standing reports whether the queue has not been empty for a deadline (ns).
func (q *queue) standing(t, deadline int64) bool {
	return q.length > 0 && t-q.since >= deadline
}

// Wait is Acquire for callers that can wait: if no slot is free and the queue
// has a place, it blocks until a slot is granted, the deadline passes or ctx
// ends. A fair share or cap that refuses does so at once, and the fair share is
// looked at again when a slot is free. One client may fill a quarter of the queue
// unless fair shares are off. The latency of the origin does not include the time
// waited.
func (l *Limiter) Wait(ctx context.Context, now time.Time, r Request) (Ticket, Refusal) {
	if r.Class >= classes {
		r.Class = Normal
	}
	l.mu.Lock()
	l.tick(now)
	ticket, refused := l.admit(r)
	if refused.Reason != LimitReached || l.cfg.QueueSize == 0 {
		if refused.Refused() {
			l.count(refused.Reason)
		}
		l.unlock()
		return ticket, refused
	}
	if l.waiting.length >= l.cfg.QueueSize ||
		!l.cfg.NoFairShare && l.waiting.byClient[r.Client] >= max(l.cfg.QueueSize/clientPart, 1) {
		l.count(QueueFull)
		l.unlock()
		return Ticket{}, Refusal{QueueFull, refused.RetryAfter}
	}
	deadline := l.cfg.QueueDeadline
	if l.waiting.standing(l.now, int64(deadline)) {
		deadline /= standingPart
	}
	w := &waiter{request: r, answered: make(chan verdict, 1)}
	l.waiting.push(w, l.now)
	l.unlock()

	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case v := <-w.answered:
		return v.ticket, v.refused
	case <-timer.C:
		return l.expire(w, now.Add(deadline))
	case <-ctx.Done():
		return l.leave(w)
	}
}

// expire ends a wait at its deadline, unless a slot is there at the last moment.
func (l *Limiter) expire(w *waiter, now time.Time) (Ticket, Refusal) {
	l.mu.Lock()
	l.tick(now)
	defer l.unlock()
	if !w.queued {
		v := <-w.answered
		return v.ticket, v.refused
	}
	l.waiting.remove(w)
	l.count(QueueDeadline)
	return Ticket{}, l.refusal(QueueDeadline)
}

// leave ends a wait whose client has gone. A slot granted meanwhile goes to the
// next one.
func (l *Limiter) leave(w *waiter) (Ticket, Refusal) {
	l.mu.Lock()
	defer l.unlock()
	if w.queued {
		l.waiting.remove(w)
	} else if v := <-w.answered; v.refused.Refused() {
		return v.ticket, v.refused
	} else {
		l.release(v.ticket.record)
		l.dispatch()
	}
	l.count(ClientLeft)
	return Ticket{}, l.refusal(ClientLeft)
}

// dispatch gives free slots to those who wait. Who used more than the fair share
// meanwhile is refused.
func (l *Limiter) dispatch() {
	for _, class := range classOrder {
		list := &l.waiting.byClass[class]
		for list.first != nil && l.room(class) {
			w := list.first
			if l.waiting.standing(l.now, int64(l.cfg.QueueDeadline)) {
				w = list.last
			}
			l.waiting.remove(w)
			if wait := l.overShare(w.request); wait > 0 {
				l.count(OverShare)
				w.answered <- verdict{refused: refusal(OverShare, wait)}
				continue
			}
			w.answered <- verdict{ticket: l.grant(w.request)}
		}
	}
}
