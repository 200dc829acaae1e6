package redis

import (
	"time"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
)

// Stats are the figures of a node. Counters begin at 0 when the node is made.
type Stats struct {
	Connected bool      `json:"connected"` // the last round succeeded
	Nodes     int       `json:"nodes"`     // alive, this one included, as last known
	Zones     int       `json:"zones"`
	Keys      int       `json:"keys"`      // clients with an account here
	Leases    int       `json:"leases"`    // clients with a lease here
	Tokens    int64     `json:"tokens"`    // outstanding, of these leases
	Untracked int64     `json:"untracked"` // requests that found no room for an account
	Rounds    int64     `json:"rounds"`    // that succeeded
	Exchanges int64     `json:"exchanges"` // calls of the script that succeeded
	Granted   int64     `json:"granted"`   // tokens leased
	Returned  int64     `json:"returned"`  // tokens of leases given back
	Charged   int64     `json:"charged"`   // tokens spent without a lease and charged later
	Errors    int64     `json:"errors"`    // rounds or calls that failed
	LastError string    `json:"last_error,omitempty"`
	ErrorAt   time.Time `json:"error_at,omitzero"`
	// RoundTrip is the time that the last successful round took.
	RoundTrip time.Duration `json:"round_trip_ns"`
}

func (s *Stats) add(t lease.Stats) {
	s.Zones++
	s.Keys += t.Keys
	s.Leases += t.Leases
	s.Tokens += int64(t.Tokens)
	s.Untracked += int64(t.Untracked)
}

// Stats returns the figures of now.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.counts
	s.Connected = n.state.Load() == online
	s.Nodes = n.Nodes()
	for _, z := range n.zones {
		s.add(z.table.Stats())
	}
	return s
}
