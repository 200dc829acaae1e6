package edgebreaker

import (
	"time"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// doubts are attempts that broke after the request was sent, with nobody telling why,
// since the proxy tried again. The backend may have failed, or be right to refuse a
// request that no backend wants, as streams of HTTP/2 end. What becomes of the request
// elsewhere tells. Those who don't fit say nothing.
type doubts struct {
	n   int
	few [3]doubt
}

type doubt struct {
	attempt  breaker.Attempt
	counters *counters
	stream   bool // it had a stream of a connection, which may end for the request's sake
}

// add takes an attempt over, and gives the slot of a probe back. It is false when there
// is no room.
func (d *doubts) add(a breaker.Attempt, c *counters, stream bool) bool {
	if d.n == len(d.few) {
		return false
	}
	one := &d.few[d.n]
	one.attempt, one.counters, one.stream = a, c, stream
	one.attempt.Yield()
	d.n++
	return true
}

// end judges them: those who had a stream by the first outcome, others by the second.
func (d *doubts) end(now time.Time, stream, other breaker.Outcome) {
	if d == nil {
		return
	}
	for i := range d.n {
		one, o := &d.few[i], other
		if one.stream {
			o = stream
		}
		report(one.attempt.End(now, o), one.counters)
	}
	d.n = 0
}
