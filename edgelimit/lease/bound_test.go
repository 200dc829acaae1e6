package lease_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
	"github.com/caddyedge/caddy-edge/edgelimit/lease/leasetest"
)

// TestAtMostOneMoreBurst: whatever nodes do, and however late the server hears of it
// and they of the answers, one client gets at most the limit and once more what the
// shares of the nodes allow: 2 bursts, 2 times what the rate brings in, and what
// rounding up gives to all nodes but one.
func TestAtMostOneMoreBurst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 4).Draw(t, "nodes")
		l := lease.Limit{
			Rate:  rapid.SampledFrom([]float64{0.001, 1, 10}).Draw(t, "rate"),
			Burst: rapid.SampledFrom([]int{1, 5, 12, 60, 300}).Draw(t, "burst"),
		}
		c := &crowd{limit: l, part: l.Share(nodes), now: simStart}
		for range nodes {
			n := &member{table: lease.New(l, 0)}
			n.table.SetNodes(nodes)
			c.members = append(c.members, n)
		}
		pick := func(t *rapid.T) *member { return c.members[rapid.IntRange(0, nodes-1).Draw(t, "node")] }
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				most := 2*float64(l.Burst) + float64(nodes-1) + 2*l.Rate*c.now.Sub(simStart).Seconds()
				require.LessOrEqual(t, float64(c.spent), most+1e-3)
			},
			"calls": func(t *rapid.T) {
				cost := rapid.IntRange(1, c.part.Burst).Draw(t, "cost")
				n := pick(t)
				for range rapid.IntRange(1, 1+l.Burst/cost).Draw(t, "calls") {
					c.call(n, cost, rapid.IntRange(0, 9).Draw(t, "late") == 0)
				}
			},
			"flood":   func(t *rapid.T) { c.calls(pick(t), l.Burst) },
			"ask":     func(t *rapid.T) { c.ask(pick(t)) },
			"serve":   func(t *rapid.T) { c.serve(pick(t)) },
			"deliver": func(t *rapid.T) { c.deliver(pick(t)) },
			"round": func(*rapid.T) {
				for _, n := range c.members {
					c.ask(n)
					c.serve(n)
					c.deliver(n)
				}
			},
			"time": func(t *rapid.T) {
				c.now = c.now.Add(time.Duration(rapid.SampledFrom([]int{1, 50, 450, 5000}).Draw(t, "ms")) * time.Millisecond)
			},
		})
	})
}

// TestCreditAndShareAreOne: nodes that spend their credit, and then hear nothing for
// so long that they fall back to their shares, have spent of these already.
func TestCreditAndShareAreOne(t *testing.T) {
	const nodes = 10
	l := lease.Limit{Rate: 1e-5, Burst: 300}
	c := &crowd{limit: l, part: l.Share(nodes), now: simStart}
	exchange := func(n *member) {
		c.ask(n)
		c.serve(n)
		c.deliver(n)
	}
	for range nodes {
		n := &member{table: lease.New(l, 0)}
		n.table.SetNodes(nodes)
		c.members = append(c.members, n)
		c.calls(n, 8)
		exchange(n)
	}
	for range 10 { // one of them gets what there is
		c.calls(c.members[0], l.Burst)
		exchange(c.members[0])
	}
	for range 2 {
		for _, n := range c.members[1:] {
			c.calls(n, l.Burst)
		}
		c.now = c.now.Add(5 * round)
	}
	require.LessOrEqual(t, c.spent, 2*l.Burst+nodes-1)
}

// crowd is some nodes of which one client wants all it can get.
type crowd struct {
	limit, part lease.Limit
	members     []*member
	bucket      leasetest.Bucket
	now         time.Time
	spent       int
}

// member is a node with at most one exchange under way.
type member struct {
	table   *lease.Table
	share   share
	asks    []lease.Ask
	answers []lease.Answer
}

func (c *crowd) calls(n *member, times int) {
	for range times {
		c.call(n, 1, false)
	}
}

// call is what the handler does with a request, which something else may refuse
// late.
func (c *crowd) call(n *member, cost int, late bool) {
	v := n.table.Take(keyOf(1), cost, c.now)
	charged := 0
	switch {
	case v.Known && !v.Allowed:
		return
	case v.Known:
		if v.Credit > 0 && n.share.force(c.part, v.Credit, c.now) {
			charged = v.Credit
		}
	case n.share.charge(c.part, cost, c.now):
		charged = cost
	default:
		n.table.Refund(v)
		return
	}
	if late {
		n.share.debt -= float64(charged)
		n.table.Refund(v)
		return
	}
	c.spent += cost
}

func (c *crowd) ask(n *member) {
	if len(n.asks) == 0 {
		n.asks = n.table.Plan(n.asks, 10, round, c.now)
	}
}

func (c *crowd) serve(n *member) {
	for _, a := range n.asks[len(n.answers):] {
		n.answers = append(n.answers, c.bucket.Exchange(c.limit, a, c.now))
	}
}

func (c *crowd) deliver(n *member) {
	if len(n.answers) == 0 {
		return
	}
	for i, a := range n.answers {
		n.table.Settle(n.asks[i].Key, a, c.now)
	}
	n.asks, n.answers = n.asks[:0], n.answers[:0]
}
