package edgebreaker

import (
	"time"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// doubts are attempts that broke after the request was sent, with nobody telling why,
// since the proxy tried again. The backend may have failed, or be right to refuse a
// request that no backend wants, as streams of HTTP/2 end. What becomes of the request
// elsewhere tells. Those who don't fit are not doubted.
type doubts struct {
	n   int
	few [3]struct {
		attempt  breaker.Attempt
		counters *counters
	}
}

// add takes an attempt over, and gives the slot of a probe back. It is false when there
// is no room.
func (d *doubts) add(a breaker.Attempt, c *counters) bool {
	if d.n == len(d.few) {
		return false
	}
	d.few[d.n].attempt, d.few[d.n].counters = a, c
	d.few[d.n].attempt.Yield()
	d.n++
	return true
}

// end judges them.
func (d *doubts) end(now time.Time, o breaker.Outcome) {
	for i := range d.n {
		report(d.few[i].attempt.End(now, o), d.few[i].counters)
	}
	d.n = 0
}
