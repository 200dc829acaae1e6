package lease_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
	"github.com/caddyedge/caddy-edge/edgelimit/lease/leasetest"
)

const (
	simStep  = time.Millisecond
	simRound = 100 * time.Millisecond
)

var simStart = time.Unix(1_700_000_000, 0)

// share is the local limiter that the caller keeps: a plain GCRA.
type share struct {
	debt float64
	at   time.Time // of debt
}

func (s *share) leak(l lease.Limit, now time.Time) {
	s.debt = max(0, s.debt-l.Rate*now.Sub(s.at).Seconds())
	s.at = now
}

// charge takes the cost if it fits.
func (s *share) charge(l lease.Limit, cost int, now time.Time) bool {
	s.leak(l, now)
	if s.debt+float64(cost) > float64(l.Burst)+1e-6 {
		return false
	}
	s.debt += float64(cost)
	return true
}

// force takes the cost, and says whether it did fit.
func (s *share) force(l lease.Limit, cost int, now time.Time) bool {
	if s.charge(l, cost, now) {
		return true
	}
	s.debt = float64(l.Burst)
	return false
}

// simNode is one node in simulated time.
type simNode struct {
	table    *lease.Table
	shares   map[lease.Key]*share
	online   bool
	planned  time.Time // of the last plan
	due      time.Time // of the next plan
	arrival  time.Time // of the answers under way; zero for none
	answers  map[lease.Key]lease.Answer
	asks     []lease.Ask
	exchange int
}

// sim is a cluster in simulated time: nodes, one server, and a link that takes
// rtt for a round trip or is down.
type sim struct {
	limit   lease.Limit
	rtt     time.Duration
	down    func(at time.Duration) bool
	wipes   bool // the server comes back empty
	rng     *rand.Rand
	nodes   []*simNode
	buckets map[lease.Key]*leasetest.Bucket
	wasDown bool
}

func newSim(l lease.Limit, nodes int, rtt time.Duration) *sim {
	s := &sim{
		limit: l, rtt: rtt, rng: rand.New(rand.NewPCG(1, 2)),
		buckets: make(map[lease.Key]*leasetest.Bucket),
		down:    func(time.Duration) bool { return false },
	}
	for range nodes {
		n := &simNode{
			table: lease.New(l, 0), shares: make(map[lease.Key]*share), online: true,
			planned: simStart, due: simStart.Add(time.Duration(s.rng.Int64N(int64(simRound)))),
		}
		n.table.SetNodes(nodes)
		s.nodes = append(s.nodes, n)
	}
	return s
}

// take is what the handler does with one request.
func (s *sim) take(n *simNode, k lease.Key, now time.Time) bool {
	var v lease.Verdict
	own := n.shares[k]
	if own == nil {
		own = new(share)
		n.shares[k] = own
	}
	part := s.limit.Share(len(s.nodes))
	if n.online {
		if v = n.table.Take(k, 1, now); v.Known {
			if v.Credit > 0 {
				own.force(part, v.Credit, now)
			}
			return v.Allowed
		}
	}
	if own.charge(part, 1, now) {
		return true
	}
	n.table.Refund(v)
	return false
}

// turn runs the workers of all nodes.
func (s *sim) turn(now time.Time) {
	down := s.down(now.Sub(simStart))
	if s.wipes && down && !s.wasDown {
		clear(s.buckets)
	}
	s.wasDown = down
	for _, n := range s.nodes {
		if !n.arrival.IsZero() && !now.Before(n.arrival) {
			n.arrival = time.Time{}
			if down {
				n.online = false
			} else {
				if !n.online {
					n.table.Reset()
				}
				n.online = true
				for k, a := range n.answers {
					n.table.Settle(k, a, now)
				}
			}
			n.due = now.Add(lease.Pause(simRound, s.rtt, s.rng.Float64()))
			continue
		}
		if !n.arrival.IsZero() || now.Before(n.due) {
			continue
		}
		n.asks = n.table.Plan(n.asks[:0], 2048, now.Sub(n.planned), now)
		n.planned = now
		n.arrival = now.Add(s.rtt)
		n.answers = make(map[lease.Key]lease.Answer)
		if down {
			continue
		}
		for _, a := range n.asks {
			n.exchange++
			b := s.buckets[a.Key]
			if b == nil {
				b = new(leasetest.Bucket)
				s.buckets[a.Key] = b
			}
			n.answers[a.Key] = b.Exchange(s.limit, a, now.Add(s.rtt/2))
		}
	}
}

// poisson returns the number of requests in one step for a rate per second.
func (s *sim) poisson(rate float64) (n int) {
	mean := rate * simStep.Seconds()
	for sum := s.rng.ExpFloat64(); sum < mean; sum += s.rng.ExpFloat64() {
		n++
	}
	return n
}

// outcome is what one simulated minute gave.
type outcome struct {
	offered, admitted []int   // by node, over all keys
	worst             float64 // admitted of the key that got most
	possible          float64 // what limit and load allow, over all keys
	exchanges         int
}

// minute runs 60 s. load gives the requests per second of a key at a node.
func (s *sim) minute(keys int, load func(key, node int, at time.Duration) float64) outcome {
	o := outcome{offered: make([]int, len(s.nodes)), admitted: make([]int, len(s.nodes))}
	hasher := lease.NewHasher("", "zone")
	names := make([]lease.Key, keys)
	for k := range names {
		names[k] = hasher.Key(fmt.Appendf(nil, "client %d", k))
	}
	byKey, offered := make([]int, keys), make([]int, keys)
	for at := time.Duration(0); at < time.Minute; at += simStep {
		now := simStart.Add(at)
		for k, name := range names {
			for i, n := range s.nodes {
				for range s.poisson(load(k, i, at)) {
					o.offered[i]++
					offered[k]++
					if s.take(n, name, now) {
						o.admitted[i]++
						byKey[k]++
					}
				}
			}
		}
		s.turn(now)
	}
	for k, n := range byKey {
		o.worst = max(o.worst, float64(n))
		o.possible += min(s.bound(), float64(offered[k]))
	}
	for _, n := range s.nodes {
		o.exchanges += n.exchange
	}
	return o
}

// bound is what one key may get in a minute.
func (s *sim) bound() float64 { return float64(s.limit.Burst) + 60*s.limit.Rate }

func total(counts []int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// TestSimulate shows what three nodes make of one limit. Overshoot is that of
// the worst key: what it got in a minute against burst + 60 s x rate. Fill is
// what was admitted of what the limit, or the load if it is less, would allow.
func TestSimulate(t *testing.T) {
	usual := lease.Limit{Rate: 100, Burst: 200}
	slow := lease.Limit{Rate: 1, Burst: 5}
	each := func(rates ...float64) func(int, int, time.Duration) float64 {
		return func(_, node int, _ time.Duration) float64 { return rates[node] }
	}
	between := func(from, to time.Duration) func(time.Duration) bool {
		return func(at time.Duration) bool { return at >= from && at < to }
	}
	for _, c := range []struct {
		name      string
		limit     lease.Limit
		keys      int
		rtt       time.Duration
		load      func(key, node int, at time.Duration) float64
		down      func(time.Duration) bool
		wipes     bool
		overshoot float64 // at most
		fill      float64 // at least
		spread    float64 // least admitted part of a node against the greatest; 0 when it does not apply
	}{
		{name: "twice the rate, evenly", limit: usual, keys: 3, load: each(67, 67, 67), overshoot: 0.03, fill: 0.97, spread: 0.9},
		{name: "ten times, evenly", limit: usual, keys: 3, load: each(333, 333, 333), overshoot: 0.03, fill: 0.97, spread: 0.9},
		{name: "twice, all at one node", limit: usual, keys: 3, load: each(200, 0, 0), overshoot: 0.03, fill: 0.97},
		{name: "90 % of the rate, one node", limit: usual, keys: 3, load: each(90, 0, 0), fill: 0.99},
		{name: "90 % of the rate, evenly", limit: usual, keys: 3, load: each(30, 30, 30), fill: 0.99},
		{name: "90 % of the rate, skewed", limit: usual, keys: 3, load: each(70, 15, 5), fill: 0.99},
		{name: "twice at one, just cold at others", limit: usual, keys: 3, load: each(200, 16, 16), overshoot: 0.05, fill: 0.97},
		{name: "twice, skewed 80:15:5", limit: usual, keys: 3, load: each(160, 30, 10), overshoot: 0.03, fill: 0.97},
		{name: "half the rate, cold everywhere", limit: usual, keys: 30, load: each(16, 16, 16), fill: 0.999},
		{name: "hot and cold keys", limit: usual, keys: 60, overshoot: 0.05, fill: 0.97, load: func(key, _ int, _ time.Duration) float64 {
			if key%3 == 0 {
				return 67
			}
			return 10
		}},
		{name: "moves on every 2 s", limit: usual, keys: 3, overshoot: 0.05, fill: 0.95, load: func(_, node int, at time.Duration) float64 {
			if int(at/(2*time.Second))%3 == node {
				return 200
			}
			return 0
		}},
		{name: "comes and goes", limit: usual, keys: 3, overshoot: 0.05, load: func(_, _ int, at time.Duration) float64 {
			if at%(2*time.Second) < 500*time.Millisecond {
				return 400
			}
			return 0
		}},
		{name: "1/s, twice, evenly", limit: slow, keys: 30, load: each(0.67, 0.67, 0.67), overshoot: 0.1, fill: 0.93},
		{name: "1/s, twice, one node", limit: slow, keys: 30, load: each(2, 0, 0), overshoot: 0.1, fill: 0.93},
		{name: "1/s, twice at one, cold at others", limit: slow, keys: 30, load: each(2, 0.15, 0.15), overshoot: 0.1, fill: 0.93},
		{name: "5000/s, twice, evenly", limit: lease.Limit{Rate: 5000, Burst: 5000}, keys: 1, load: each(3333, 3333, 3333), overshoot: 0.03, fill: 0.97, spread: 0.9},
		{name: "burst below the nodes", limit: lease.Limit{Rate: 20, Burst: 2}, keys: 3, load: each(13, 13, 13), overshoot: 0.03, fill: 0.8},
		{name: "server 80 ms away", limit: usual, keys: 3, rtt: 80 * time.Millisecond, load: each(67, 67, 67), overshoot: 0.05, fill: 0.97, spread: 0.9},
		{name: "server 400 ms away", limit: usual, keys: 3, rtt: 400 * time.Millisecond, load: each(67, 67, 67), overshoot: 0.1, fill: 0.95, spread: 0.8},
		{name: "server away for 20 s", limit: usual, keys: 3, load: each(67, 67, 67), down: between(20*time.Second, 40*time.Second), overshoot: 0.1, fill: 0.95},
		{name: "server away, comes back empty", limit: usual, keys: 3, load: each(67, 67, 67), down: between(20*time.Second, 40*time.Second), wipes: true, overshoot: 0.1, fill: 0.95},
		{name: "server never there", limit: usual, keys: 3, load: each(67, 67, 67), down: between(0, time.Hour), overshoot: 0.1, fill: 0.95, spread: 0.9},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(c.limit, 3, max(c.rtt, 2*simStep))
			s.wipes = c.wipes
			if c.down != nil {
				s.down = c.down
			}
			o := s.minute(c.keys, c.load)

			overshoot := max(0, o.worst/s.bound()-1)
			fill := float64(total(o.admitted)) / o.possible
			least, most := 1.0, 0.0
			for i := range o.admitted {
				part := float64(o.admitted[i]) / float64(max(1, o.offered[i]))
				least, most = min(least, part), max(most, part)
			}
			t.Logf("offered %v admitted %v overshoot %.2f %% fill %.1f %% spread %.2f exchanges per key and s %.1f",
				o.offered, o.admitted, 100*overshoot, 100*fill, least/most, float64(o.exchanges)/float64(60*c.keys))
			require.LessOrEqual(t, overshoot, c.overshoot, "overshoot")
			require.GreaterOrEqual(t, fill, c.fill, "fill")
			if c.spread > 0 {
				require.GreaterOrEqual(t, least/most, c.spread, "spread")
			}
		})
	}
}
