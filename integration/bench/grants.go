package main

import (
	"net/http"
	"net/netip"
	"time"
)

// quota is a limit of every client.
type quota struct {
	rate  float64 // requests per second
	burst float64
}

// legal returns how many requests may pass in a time.
func (q quota) legal(d time.Duration) float64 { return q.burst + q.rate*d.Seconds() }

// grant is what one client got.
type grant struct {
	asked, allowed int
	// first and last are when the first request was due and the last response
	// was there. The servers decided in between.
	first, last time.Duration
}

// grantsOf returns the grants by client, and how many requests were neither
// allowed nor refused.
func grantsOf(arrivals []arrival, outcomes []outcome) (grants map[int]*grant, failed int) {
	grants = make(map[int]*grant)
	for i := range arrivals {
		a, o := &arrivals[i], &outcomes[i]
		g := grants[a.client]
		if g == nil {
			g = &grant{first: a.at}
			grants[a.client] = g
		}
		g.asked++
		g.last = max(g.last, a.at+o.latency)
		switch o.status {
		case http.StatusOK:
			g.allowed++
		case http.StatusTooManyRequests:
		default:
			failed++
		}
	}
	return grants, failed
}

// excess compares grants with what was legal, which is that of all of these
// clients together, and for the client that got the most.
type excess struct {
	all, worst float64
	asked      float64 // how much was asked for
}

// excessOf sums the grants of a class of clients up. more is added to what each of
// them may have.
func excessOf(grants map[int]*grant, q quota, more float64, class func(client int) bool) (e excess) {
	var asked, allowed, legal float64
	for client, g := range grants {
		if !class(client) {
			continue
		}
		its := q.legal(g.last-g.first) + more
		asked, allowed, legal = asked+float64(g.asked), allowed+float64(g.allowed), legal+its
		e.worst = max(e.worst, float64(g.allowed)/its)
	}
	if legal > 0 {
		e.all, e.asked = allowed/legal, asked/legal
	}
	return e
}

// clientAddr returns the address of a client.
func clientAddr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}
