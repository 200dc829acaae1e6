package main

import (
	"net/http"
	"time"
)

// tally counts what became of the requests of a time.
type tally struct {
	lasts                         time.Duration
	sent, served, refused, failed int
	honest, honestOK              int
	latencies                     sample // seconds, of those served
}

// tallyOf counts the requests that were due in a time.
func tallyOf(arrivals []arrival, outcomes []outcome, from, to time.Duration) tally {
	t := tally{lasts: to - from}
	for i := range arrivals {
		if arrivals[i].at < from || arrivals[i].at >= to {
			continue
		}
		honest := arrivals[i].client >= overloadAbusers
		t.sent++
		if honest {
			t.honest++
		}
		switch outcomes[i].status {
		case http.StatusOK:
			t.served++
			t.latencies = append(t.latencies, outcomes[i].latency.Seconds())
			if honest {
				t.honestOK++
			}
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			t.refused++
		default:
			t.failed++
		}
	}
	return t
}

// goodput returns how many requests were served per second.
func (t *tally) goodput() float64 { return float64(t.served) / t.lasts.Seconds() }

// share returns which part of the requests n are.
func (t *tally) share(n int) float64 { return float64(n) / float64(max(t.sent, 1)) }

// honestServed returns the share of honest requests that were served.
func (t *tally) honestServed() float64 { return float64(t.honestOK) / float64(max(t.honest, 1)) }

func (t *tally) p95() time.Duration    { return duration(t.latencies.quantile(0.95)) }
func (t *tally) median() time.Duration { return duration(t.latencies.median()) }
