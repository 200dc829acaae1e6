package edgebreaker

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// streamFor is how long a response must have streamed to be a success, since a
// stream may last for hours.
const streamFor = 5 * time.Second

// deadlineError is the cause of the cancellation when a deadline passed. Being a
// net.Error with Timeout it becomes 504, and is not taken for the client's doing.
type deadlineError string

func (e deadlineError) Error() string { return string(e) }

// Timeout implements net.Error.
func (deadlineError) Timeout() bool { return true }

// Temporary implements net.Error.
func (deadlineError) Temporary() bool { return true }

// Is makes it a deadline for those who look for one.
func (deadlineError) Is(target error) bool { return target == context.DeadlineExceeded }

var (
	errHeaderTimeout error = deadlineError("the backend did not answer in time")
	errTimeout       error = deadlineError("the backend took too long")
)

// deadline cancels an attempt that takes too long. Its context serves all attempts
// of one proxy until one of them is cancelled.
type deadline struct {
	cancel  context.CancelCauseFunc
	earlier []context.CancelCauseFunc // of proxies that may still copy a response
	alarm   *alarm
}

// alarm is a timer that calls a record. It is reused unless it has rung.
type alarm struct {
	timer *time.Timer
	rec   atomic.Pointer[record]
}

var alarms = sync.Pool{New: func() any { return new(alarm) }}

// set has the record called after d.
func (d *deadline) set(rec *record, after time.Duration) {
	if d.alarm == nil {
		d.alarm = alarms.Get().(*alarm)
		d.alarm.rec.Store(rec)
	}
	a := d.alarm
	if a.timer != nil {
		a.timer.Reset(after)
		return
	}
	a.timer = time.AfterFunc(after, func() {
		if rec := a.rec.Load(); rec != nil {
			rec.ring() // a late ring may come to the next record, where it does nothing
		}
	})
}

// end frees what the deadline holds.
func (d *deadline) end() {
	if a := d.alarm; a != nil {
		d.alarm = nil
		if a.timer.Stop() {
			a.rec.Store(nil)
			alarms.Put(a)
		}
	}
	for _, cancel := range d.earlier {
		cancel(nil)
	}
	if d.cancel != nil {
		d.cancel(nil)
	}
}

// limited returns a request whose context the deadlines of the attempt end, r
// itself if there are none or if it has such a context already.
func (rec *record) limited(r *http.Request, again bool) context.Context {
	h := rec.handler
	if h.HeaderTimeout <= 0 && h.Timeout == 0 {
		return nil
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	d := &rec.deadline
	if again && rec.expired == nil && d.cancel != nil {
		return nil
	}
	if d.cancel != nil {
		d.earlier = append(d.earlier, d.cancel)
	}
	base := r.Context()
	if again {
		base = rec.proxyCtx
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancelCause(base)
	return ctx
}

// arm sets the alarm for a new attempt. It rings early and looks what there is to
// do, so that nothing has to be set anew when the header comes.
func (rec *record) arm() {
	after := streamFor
	if rec.holdsProbe() {
		after = slowClient
	}
	if d := time.Duration(rec.handler.HeaderTimeout); d > 0 {
		after = min(after, d)
	}
	if d := time.Duration(rec.handler.Timeout); d > 0 {
		after = min(after, d)
	}
	rec.deadline.set(rec, after)
}

// holdsProbe reports whether the attempt is a probe that waits for the client's body:
// a few slow clients must not hold all slots of a half-open backend.
func (rec *record) holdsProbe() bool {
	return rec.content != nil && rec.attempt.Probe() && !rec.yielded && !rec.uploaded()
}

// ring is called by the alarm.
func (rec *record) ring() {
	now := time.Now()
	rec.mu.Lock()
	var change breaker.Change
	left := rec.remaining(now)
	switch {
	case rec.phase == idle || rec.phase == closed || rec.expired != nil:
		left = 0
	case left <= 0:
		change = rec.expire(now, errTimeout)
	case rec.phase == waiting:
		if header := rec.headerRemaining(now); header <= 0 {
			left = 0
			change = rec.expire(now, errHeaderTimeout)
		} else {
			left = min(left, header, streamFor)
		}
		if rec.holdsProbe() {
			left = min(left, slowClient)
			if rec.slowUpload() && !rec.uploaded() {
				rec.attempt.Yield()
				rec.yielded = true
			}
		}
	case rec.phase == streaming:
		if streamed := now.Sub(rec.header); streamed >= streamFor {
			rec.phase = judged
			if rec.verdict == breaker.Success {
				change = rec.attempt.Streaming(now)
			}
		} else {
			left = min(left, streamFor-streamed)
		}
	}
	if left > 0 && left < forever && rec.deadline.alarm != nil {
		rec.deadline.set(rec, left)
	}
	counters := rec.counters
	rec.mu.Unlock()
	report(change, counters)
}

// forever is longer than any deadline.
const forever = time.Duration(1<<63 - 1)

// remaining is the rest of the time for the whole attempt.
func (rec *record) remaining(now time.Time) time.Duration {
	if rec.handler.Timeout == 0 {
		return forever
	}
	return time.Duration(rec.handler.Timeout) - now.Sub(rec.began)
}

// headerRemaining is the rest of the time to the header. It does not pass while the
// client is waited for.
func (rec *record) headerRemaining(now time.Time) time.Duration {
	most := time.Duration(rec.handler.HeaderTimeout)
	switch {
	case most <= 0:
		return forever
	case rec.content == nil:
		return most - now.Sub(rec.began)
	case rec.body.reading.Load() != 0:
		return most
	}
	return most - now.Sub(latest(rec.began, rec.body.touched()))
}

// expire cancels the attempt. A transport may go on waiting all the same, so what the
// deadline says of the backend is said here.
func (rec *record) expire(now time.Time, cause error) (change breaker.Change) {
	rec.expired = cause
	// With a status the backend has answered: it is the proxy's routes that take long.
	if _, answered := rec.placeholder(proxyStatus).(int); rec.phase == waiting && !answered && !rec.excused(cause) {
		rec.late = true
		if !rec.route { // there it is not known yet who answers
			waited, _ := rec.latency(now, rec.began)
			change = rec.attempt.Header(now, waited, breaker.Failure)
		}
	}
	if rec.deadline.cancel != nil {
		rec.deadline.cancel(cause)
	}
	return change
}

// excused reports whether it is the client's doing that a deadline passed, or that an
// attempt failed for which there is none. The one of the header runs from the end of the
// client's body.
func (rec *record) excused(deadline error) bool {
	if clientLeft(rec.base) || rec.content != nil && rec.body.failed.Load() {
		return true
	}
	return rec.slowUpload() && (!errors.Is(deadline, errHeaderTimeout) || !rec.uploaded())
}

// cancelled reports whether a deadline of ours cancelled the attempt.
func (rec *record) cancelled() bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.expired != nil && rec.base.Err() == nil
}
