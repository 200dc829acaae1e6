// Package leasetest has the shared server's part of the accounting in Go: the
// model that the script on the server is held to, and the server of simulations.
package leasetest

import (
	"math"
	"time"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
)

// Bucket is the bucket of one key on the server. The zero value is full.
type Bucket struct {
	debtUntil time.Time // when it will be full, as in a GCRA
}

// Exchange charges what was spent, takes back what is not needed, and grants of
// what is wanted as much as there is. A debt is forgotten beyond two bursts and
// what comes in within a second.
func (b *Bucket) Exchange(l lease.Limit, a lease.Ask, now time.Time) lease.Answer {
	debt := math.Max(0, b.debtUntil.Sub(now).Seconds()*l.Rate)
	debt += float64(a.Spent - a.Back)
	debt = math.Min(math.Max(debt, 0), 2*float64(l.Burst)+l.Rate)
	free := float64(l.Burst) - debt
	granted := int64(math.Max(0, math.Min(float64(a.Want), math.Floor(free+1e-3))))
	debt += float64(granted)
	b.debtUntil = now.Add(time.Duration(math.Round(debt / l.Rate * 1e9)))
	return lease.Answer{Granted: granted, Free: free - float64(granted)}
}
