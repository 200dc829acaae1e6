package lease_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
	"github.com/caddyedge/caddy-edge/edgelimit/lease/leasetest"
)

const round = 100 * time.Millisecond

// keyOf returns a key in shard 0.
func keyOf(i int) lease.Key { return lease.Key{1: byte(i), 2: byte(i >> 8), 3: byte(i >> 16)} }

// spend takes n tokens one by one and returns how many calls the table allowed,
// refused, and left to the share.
func spend(t *lease.Table, k lease.Key, n int, now time.Time) (allowed, refused, unknown int) {
	for range n {
		switch v := t.Take(k, 1, now); {
		case !v.Known:
			unknown++
		case v.Allowed:
			allowed++
		default:
			refused++
		}
	}
	return allowed, refused, unknown
}

func TestLimitValidate(t *testing.T) {
	for _, c := range []struct {
		limit lease.Limit
		err   string
	}{
		{lease.Limit{Rate: 1, Burst: 1}, ""},
		{lease.Limit{Rate: 1e6, Burst: 1e9}, ""},
		{lease.Limit{Rate: 0.001, Burst: 1000}, ""},
		{lease.Limit{Rate: 0, Burst: 1}, "rate: 0"},
		{lease.Limit{Rate: -1, Burst: 1}, "rate: -1"},
		{lease.Limit{Rate: math.NaN(), Burst: 1}, "rate: NaN"},
		{lease.Limit{Rate: math.Inf(1), Burst: 1}, "rate: +Inf"},
		{lease.Limit{Rate: 1.1e6, Burst: 1}, "rate: 1.1e+06"},
		{lease.Limit{Rate: 1, Burst: 0}, "burst: 0"},
		{lease.Limit{Rate: 1, Burst: 1e9 + 1}, "burst: 1000000001"},
		{lease.Limit{Rate: 1e-6, Burst: 1000}, "to refill"},
	} {
		err := c.limit.Validate()
		if c.err == "" {
			require.NoError(t, err, "%+v", c.limit)
			continue
		}
		require.ErrorContains(t, err, c.err)
	}
}

func TestLimitShare(t *testing.T) {
	for _, c := range []struct {
		burst, nodes, want int
		rate               float64
	}{
		{200, 1, 200, 90}, {200, 0, 200, 90}, {200, -1, 200, 90}, {200, 3, 67, 30}, {2, 3, 1, 30}, {1, 3, 1, 30}, {3, 3, 1, 30},
	} {
		require.Equal(t, lease.Limit{Rate: c.rate, Burst: c.want}, lease.Limit{Rate: 90, Burst: c.burst}.Share(c.nodes))
	}
}

func TestHasher(t *testing.T) {
	a := lease.NewHasher("secret", "zone")
	require.Equal(t, a.Key([]byte("client")), lease.NewHasher("secret", "zone").Key([]byte("client")), "the same on all nodes")
	seen := map[lease.Key]string{}
	for _, c := range []struct{ secret, zone, client string }{
		{"secret", "zone", "client"}, {"secret", "zone", "other"}, {"secret", "other", "client"}, {"", "zone", "client"},
		{"", "secretzone", "client"}, {"secretzone", "", "client"}, {"secret", "zonec", "lient"}, {"secret", "zone", strings.Repeat("long", 100)},
	} {
		k := lease.NewHasher(c.secret, c.zone).Key([]byte(c.client))
		require.Empty(t, seen[k], "%+v", c)
		seen[k] = fmt.Sprintf("%+v", c)
		require.Len(t, k.String(), 32)
	}
	client := []byte("192.0.2.1")
	require.Zero(t, testing.AllocsPerRun(10, func() { a.Key(client) }))
}

// TestLifeOfAKey goes with one key from cold to hot, empty, idle and forgotten.
func TestLifeOfAKey(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 60, Burst: 120}, 0)
	table.SetNodes(3)
	k := keyOf(1)
	now := simStart

	_, _, unknown := spend(table, k, 5, now)
	require.Equal(t, 5, unknown, "a key nobody asked about is left to the share")
	now = now.Add(round)
	require.Empty(t, table.Plan(nil, 10, round, now), "cold: half of a node's burst is 20, and a lump is 10")

	_, _, unknown = spend(table, k, 7, now)
	require.Equal(t, 7, unknown)
	now = now.Add(round)
	require.Equal(t, []lease.Ask{{Key: k, Spent: 12}}, table.Plan(nil, 10, round, now), "still cold, but a lump")
	table.Settle(k, lease.Answer{Free: 30}, now)
	allowed, refused, unknown := spend(table, k, 11, now)
	require.Equal(t, [3]int{10, 1, 0}, [3]int{allowed, refused, unknown}, "a third of what is left is credit")

	now = now.Add(round)
	asks := table.Plan(nil, 10, round, now)
	require.Equal(t, []lease.Ask{{Key: k, Spent: 10, Want: 22}}, asks, "hot: two rounds like the last, which had 11 calls")
	table.Settle(k, lease.Answer{Granted: 22, Free: 1}, now)
	require.Equal(t, lease.Stats{Keys: 1}, table.Stats(), "as of the last plan")
	allowed, refused, _ = spend(table, k, 30, now)
	require.Equal(t, [2]int{22, 8}, [2]int{allowed, refused})

	v := table.Take(k, 10, now.Add(50*time.Millisecond))
	require.True(t, v.Known)
	require.False(t, v.Allowed)
	require.Equal(t, 100*time.Millisecond, v.RetryAfter, "9 tokens come in within 150 ms, of which 50 are over")
	require.Equal(t, round, table.Take(k, 1, now.Add(90*time.Millisecond)).RetryAfter, "not before the next round")
	never := table.Take(k, 121, now)
	require.True(t, never.Known)
	require.Negative(t, never.RetryAfter, "more than the burst never fits")
	require.True(t, table.Take(k, 0, now).Allowed)

	now = now.Add(round)
	asks = table.Plan(nil, 10, round, now)
	require.Len(t, asks, 1)
	require.Equal(t, int64(64), asks[0].Want, "22 granted, and of 19 refused no more than the greatest call")
	table.Settle(k, lease.Answer{Granted: 50, Free: 20}, now)
	table.Plan(nil, 0, round, now.Add(round))
	require.Equal(t, lease.Stats{Keys: 1, Leases: 1, Tokens: 50}, table.Stats())

	// Idle: the lease goes back, the key cools down and is forgotten.
	back := int64(0)
	for range 100 {
		now = now.Add(round)
		for _, a := range table.Plan(nil, 10, round, now) {
			back += a.Back
			require.Zero(t, a.Spent)
			table.Settle(k, lease.Answer{Granted: a.Want, Free: 20}, now)
			back -= a.Want
		}
	}
	require.Equal(t, int64(50), back)
	require.Equal(t, lease.Stats{}, table.Stats())
}

// TestSpentMeanwhile: what is spent between question and answer comes off the
// credit, since the server has not yet charged it.
func TestSpentMeanwhile(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 10}, 0)
	k := keyOf(1)
	spend(table, k, 6, simStart)
	require.Len(t, table.Plan(nil, 10, round, simStart), 1)
	spend(table, k, 3, simStart)
	table.Settle(k, lease.Answer{Free: 4}, simStart)
	allowed, refused, _ := spend(table, k, 2, simStart)
	require.Equal(t, [2]int{1, 1}, [2]int{allowed, refused})
}

// TestIdleLeaseGoesBack: soon, although the key stays hot for longer.
func TestIdleLeaseGoesBack(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 1, Burst: 100}, 0)
	k := keyOf(1)
	spend(table, k, 60, simStart)
	a := table.Plan(nil, 10, round, simStart)[0]
	table.Settle(k, lease.Answer{Granted: a.Want}, simStart)
	held := a.Want
	for i := range 20 {
		for _, a := range table.Plan(nil, 10, round, simStart.Add(time.Duration(i+1)*round)) {
			held += a.Want - a.Back
		}
	}
	require.Zero(t, held)
}

// TestFloodCoolsDown: a key is not hot for long after a flood, however great.
func TestFloodCoolsDown(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 20}, 0)
	k := keyOf(1)
	spend(table, k, 100000, simStart)
	now := simStart
	for range 60 { // 2 x 10 tokens leak in 4 s
		now = now.Add(round)
		for _, a := range table.Plan(nil, 10, round, now) {
			table.Settle(k, lease.Answer{}, now)
			require.Equal(t, k, a.Key)
		}
	}
	spend(table, k, 2, now)
	require.Empty(t, table.Plan(nil, 10, round, now), "two calls of a cold key are not worth a word")
}

// TestIdleUseIsCharged when the key is forgotten, unless it is negligible.
func TestIdleUseIsCharged(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 20}, 0)
	spend(table, keyOf(1), 1, simStart)
	spend(table, keyOf(2), 3, simStart)
	var asks []lease.Ask
	for i := range 100 {
		asks = table.Plan(asks, 10, round, simStart.Add(time.Duration(i)*round))
	}
	require.Equal(t, []lease.Ask{{Key: keyOf(2), Spent: 3}}, asks)
	require.Zero(t, table.Stats().Keys)
}

// TestTakenOver: an account that another key takes over begins at nothing.
func TestTakenOver(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 8}, 64) // one per shard
	spend(table, keyOf(1), 2, simStart)
	spend(table, keyOf(2), 1, simStart)
	require.Equal(t, []lease.Ask{{Key: keyOf(2), Spent: 1}}, table.Drain(nil))
}

// TestOldAnswers: a refusal needs a recent answer; what is leased is good at any
// time.
func TestOldAnswers(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 10}, 0)
	k := keyOf(1)
	spend(table, k, 3, simStart)
	require.Len(t, table.Plan(nil, 10, round, simStart), 1)
	table.Settle(k, lease.Answer{Granted: 2, Free: 0}, simStart)
	late := simStart.Add(4*round + 1)
	require.True(t, table.Take(k, 2, simStart.Add(time.Hour)).Known)
	v := table.Take(k, 1, late.Add(-1))
	require.True(t, v.Known)
	require.False(t, v.Allowed)
	require.False(t, table.Take(k, 1, late).Known)
}

func TestRefund(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 10}, 0)
	k := keyOf(1)
	v := table.Take(k, 4, simStart)
	require.False(t, v.Known)
	table.Refund(v)
	require.Empty(t, table.Drain(nil), "what was refunded is not charged")

	v = table.Take(k, 4, simStart)
	asks := table.Plan(nil, 10, round, simStart)
	require.Equal(t, int64(4), asks[0].Spent)
	table.Settle(k, lease.Answer{Free: 0}, simStart)
	table.Refund(v)
	next := table.Take(k, 4, simStart)
	require.True(t, next.Known && next.Allowed, "what was charged becomes lease")
	refused := table.Take(k, 1, simStart)
	require.True(t, refused.Known && !refused.Allowed)
	table.Refund(refused)
	require.Empty(t, table.Drain(nil), "a refusal booked nothing")
	table.Refund(v)
	require.Empty(t, table.Drain(nil), "the account is gone")
}

// TestRefundOnCredit: calls that something else refuses do not use up the credit,
// and leave nothing behind that makes the key hot.
func TestRefundOnCredit(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 20}, 0)
	k := keyOf(1)
	table.Take(k, 11, simStart)
	require.Len(t, table.Plan(nil, 10, round, simStart), 1)
	table.Settle(k, lease.Answer{Free: 9}, simStart)
	now := simStart.Add(5 * time.Second) // by then the 11 calls are forgotten
	table.Plan(nil, 10, round, now)
	spend(table, k, 6, now)
	require.Equal(t, int64(6), table.Plan(nil, 10, round, now)[0].Spent)
	table.Settle(k, lease.Answer{Free: 3}, now)

	for range 100 {
		v := table.Take(k, 1, now)
		require.True(t, v.Known && v.Allowed)
		table.Refund(v)
	}
	allowed, refused, _ := spend(table, k, 4, now)
	require.Equal(t, [2]int{3, 1}, [2]int{allowed, refused}, "the credit is what it was, and not more")
}

// TestRefundIsNoUse: what was refunded, in the round of the call or in the next,
// neither makes a key hot nor is leased for, and what it kept others from is no
// denial.
func TestRefundIsNoUse(t *testing.T) {
	for name, late := range map[string]bool{"same round": false, "next round": true} {
		t.Run(name, func(t *testing.T) {
			table := lease.New(lease.Limit{Rate: 10, Burst: 20}, 0)
			k := keyOf(1)
			table.Take(k, 6, simStart)
			table.Plan(nil, 10, round, simStart)
			table.Settle(k, lease.Answer{Free: 14}, simStart)
			v := table.Take(k, 14, simStart)
			require.True(t, v.Known && v.Allowed)
			refused := table.Take(k, 1, simStart)
			require.True(t, refused.Known && !refused.Allowed)
			if late {
				table.Plan(nil, 10, round, simStart)
			}
			table.Refund(v)
			now := simStart.Add(2 * time.Second) // 7 calls leak in 1.4 s
			for _, a := range table.Plan(nil, 10, round, now) {
				require.Zero(t, a.Want)
			}
			require.Empty(t, table.Plan(nil, 10, round, now.Add(round)))
		})
	}
}

// TestRefusedByTheShare: calls that the share of the node refuses are wanted of
// this limit; the key is asked for although none of them is charged.
func TestRefusedByTheShare(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 10}, 0)
	k := keyOf(1)
	for range 6 {
		v := table.Take(k, 1, simStart)
		require.False(t, v.Known)
		table.Refund(v)
	}
	require.Equal(t, []lease.Ask{{Key: k, Want: 2}}, table.Plan(nil, 10, round, simStart))
}

// TestRefusedCallsMakeNoLease: what a client asks for beyond its limit does not
// have the whole burst leased at the node where it asks.
func TestRefusedCallsMakeNoLease(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 20, Burst: 100}, 0)
	table.SetNodes(5)
	k := keyOf(1)
	spend(table, k, 10, simStart)
	table.Plan(nil, 10, round, simStart)
	table.Settle(k, lease.Answer{Granted: 20, Free: 4}, simStart)
	allowed, refused, _ := spend(table, k, 10000, simStart)
	require.Equal(t, [2]int{20, 9980}, [2]int{allowed, refused})
	now := simStart.Add(round)
	require.Equal(t, []lease.Ask{{Key: k, Want: 44}}, table.Plan(nil, 10, round, now), "twice the 20 granted, and the 2 that a round brings in")
	table.Settle(k, lease.Answer{Free: -1}, now)

	v := table.Take(k, 90, now)
	require.True(t, v.Known && !v.Allowed)
	require.Equal(t, int64(100), table.Plan(nil, 10, round, now)[0].Want, "what one call needs is asked for, too")
}

// TestOldAnswersThatLeftNothing: an answer that says that nothing is left holds
// until the rate has brought something in.
func TestOldAnswersThatLeftNothing(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 1, Burst: 60}, 0)
	table.SetNodes(3)
	k := keyOf(1)
	_, _, unknown := spend(table, k, 16, simStart)
	require.Equal(t, 16, unknown, "of a share of 20")
	require.Len(t, table.Plan(nil, 10, round, simStart), 1)
	table.Settle(k, lease.Answer{Free: -50}, simStart)
	now := simStart.Add(4*round + 1)
	v := table.Take(k, 1, now)
	require.True(t, v.Known && !v.Allowed, "the share has 4 left, the limit nothing")
	require.Equal(t, 51*time.Second, v.RetryAfter+4*round+1)
	asks := table.Plan(nil, 10, round, now)
	require.Len(t, asks, 1, "it is asked about in the next round")
	require.Positive(t, asks[0].Want)
	require.True(t, table.Take(k, 1, simStart.Add(50*time.Second)).Known)
	require.False(t, table.Take(k, 1, simStart.Add(51*time.Second)).Known, "by now there may be one")
	require.True(t, table.Take(k, 1, simStart.Add(51*time.Second)).Known, "which has been spent")
}

// TestNothingBeyondTheBucket: one node alone gets the burst and not a token more,
// whenever it asks and however late the answers come.
func TestNothingBeyondTheBucket(t *testing.T) {
	frozen := lease.Limit{Rate: 1e-5, Burst: 300}
	for name, play := range map[string]func(p *lonely){
		"asks for more than there is": func(p *lonely) {
			p.spend(67)
			p.ask(lease.Ask{Spent: 67, Want: 134})
			p.answer(lease.Answer{Granted: 134, Free: 99})
			p.spend(134)
			p.ask(lease.Ask{Want: 268})
			p.spend(33)
			p.answer(lease.Answer{Granted: 99})
		},
		"slow answer": func(p *lonely) {
			p.spend(26)
			p.ask(lease.Ask{Spent: 26})
			p.answer(lease.Answer{Free: 274})
			p.spend(40)
			p.ask(lease.Ask{Spent: 40, Want: 80})
			p.answer(lease.Answer{Granted: 80, Free: 154})
			p.spend(80)
			p.ask(lease.Ask{Want: 160})
			p.spend(51)
			p.now = p.now.Add(4*round + 1)
			p.spend(74)
			p.answer(lease.Answer{Granted: 154})
		},
		"before the first answer": func(p *lonely) {
			p.table.SetNodes(1)
			p.nodes = 1
			p.spend(160)
			p.ask(lease.Ask{Spent: 160, Want: 300})
			p.spend(140)
			p.answer(lease.Answer{Granted: 140})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &lonely{t: t, table: lease.New(frozen, 0), limit: frozen, nodes: 3, now: simStart}
			p.table.SetNodes(3)
			play(p)
			for range 20 { // the rest
				p.spend(1000)
				p.now = p.now.Add(round)
				for _, a := range p.table.Plan(nil, 10, round, p.now) {
					p.table.Settle(a.Key, p.bucket.Exchange(frozen, a, p.now), p.now)
				}
			}
			require.Equal(t, 300, p.allowed)
		})
	}
}

// lonely is a node whose client comes to no other one.
type lonely struct {
	t       *testing.T
	table   *lease.Table
	limit   lease.Limit
	nodes   int
	share   share
	bucket  leasetest.Bucket
	now     time.Time
	asked   lease.Ask
	allowed int
}

// spend makes calls one by one, as the handler does.
func (p *lonely) spend(calls int) {
	for range calls {
		v := p.table.Take(keyOf(1), 1, p.now)
		switch part := p.limit.Share(p.nodes); {
		case v.Known && v.Credit > 0:
			p.share.force(part, v.Credit, p.now)
		case v.Known:
		case p.share.charge(part, 1, p.now):
			v.Allowed = true
		default:
			p.table.Refund(v)
		}
		if v.Allowed {
			p.allowed++
		}
	}
}

// ask ends a round, whose question has to be want.
func (p *lonely) ask(want lease.Ask) {
	p.t.Helper()
	p.now = p.now.Add(round)
	want.Key = keyOf(1)
	require.Equal(p.t, []lease.Ask{want}, p.table.Plan(nil, 10, round, p.now))
	p.asked = want
}

// answer has the server answer, which has to be want.
func (p *lonely) answer(want lease.Answer) {
	p.t.Helper()
	got := p.bucket.Exchange(p.limit, p.asked, p.now)
	require.Equal(p.t, want.Granted, got.Granted)
	require.InDelta(p.t, want.Free, got.Free, 0.01)
	p.table.Settle(keyOf(1), got, p.now)
}

// TestCreditIsNotWhatIsAskedFor: what a node is just asking for, others may be asking
// for as well, so it is not spent on credit meanwhile.
func TestCreditIsNotWhatIsAskedFor(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 1e-5, Burst: 300}, 0)
	table.SetNodes(3)
	k := keyOf(1)
	spend(table, k, 67, simStart)
	require.Len(t, table.Plan(nil, 10, round, simStart), 1)
	table.Settle(k, lease.Answer{Granted: 134, Free: 99}, simStart)
	spend(table, k, 134, simStart)
	require.Equal(t, int64(268), table.Plan(nil, 10, round, simStart)[0].Want)
	v := table.Take(k, 1, simStart)
	require.True(t, v.Known && !v.Allowed)
	require.Equal(t, round, v.RetryAfter, "it is on its way")
	table.Settle(k, lease.Answer{Granted: 50}, simStart)
	allowed, refused, _ := spend(table, k, 60, simStart)
	require.Equal(t, [2]int{50, 10}, [2]int{allowed, refused})
}

// TestUnanswered: a key that the server stops answering about is left to the
// share, whatever the last answer was.
func TestUnanswered(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 1, Burst: 60}, 0)
	k := keyOf(1)
	table.Unanswered(k)
	spend(table, k, 40, simStart)
	require.Len(t, table.Plan(nil, 10, round, simStart), 1)
	table.Settle(k, lease.Answer{Free: -10}, simStart)
	require.True(t, table.Take(k, 1, simStart).Known)
	require.Len(t, table.Plan(nil, 10, round, simStart), 1)
	table.Unanswered(k)
	require.False(t, table.Take(k, 1, simStart).Known)
	require.False(t, table.Take(k, 1, simStart.Add(time.Hour)).Known)
}

// TestRefundBeforeAnswer: the credit never rises above the part of this node in
// what the server has left.
func TestRefundBeforeAnswer(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 20}, 0)
	k := keyOf(1)
	table.Take(k, 6, simStart)
	table.Plan(nil, 10, round, simStart)
	meanwhile := table.Take(k, 5, simStart)
	require.False(t, meanwhile.Known)
	table.Take(k, 2, simStart)
	table.Settle(k, lease.Answer{Free: 4}, simStart)
	table.Refund(meanwhile)
	allowed, refused, _ := spend(table, k, 3, simStart)
	require.Equal(t, [2]int{2, 1}, [2]int{allowed, refused}, "2 of the 4 are spent")
}

// TestRefundOfAnotherLife: what an account booked cannot be taken back from the
// next account of the key, where nobody has charged it.
func TestRefundOfAnotherLife(t *testing.T) {
	for name, end := range map[string]func(*lease.Table){
		"reset":      func(table *lease.Table) { table.Reset() },
		"drained":    func(table *lease.Table) { table.Drain(nil) },
		"forgotten":  func(table *lease.Table) { table.Forget(keyOf(1)) },
		"taken over": func(table *lease.Table) { table.Take(keyOf(2), 1, simStart) },
	} {
		t.Run(name, func(t *testing.T) {
			table := lease.New(lease.Limit{Rate: 10, Burst: 10}, 64) // one per shard
			old := table.Take(keyOf(1), 5, simStart)
			end(table)
			table.Take(keyOf(1), 1, simStart)
			table.Refund(old)
			require.Equal(t, []lease.Ask{{Key: keyOf(1), Spent: 1}}, table.Drain(nil))
		})
	}
}

func TestForget(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 10}, 0)
	k := keyOf(1)
	table.Forget(k)
	spend(table, k, 1, simStart)
	table.Plan(nil, 10, round, simStart)
	table.Settle(k, lease.Answer{Free: -5}, simStart)
	require.True(t, table.Take(k, 1, simStart).Known)
	table.Forget(k)
	require.False(t, table.Take(k, 1, simStart).Known)
}

// TestPlanIsBounded: what does not fit into one round comes up in the next.
func TestPlanIsBounded(t *testing.T) {
	table := lease.New(lease.Limit{Rate: 10, Burst: 4}, 0)
	for i := range 25 {
		spend(table, keyOf(i), 3, simStart)
	}
	seen := map[lease.Key]int64{}
	for _, want := range []int{10, 10, 5, 0} {
		asks := table.Plan(nil, 10, round, simStart)
		require.Len(t, asks, want)
		for _, a := range asks {
			seen[a.Key] += a.Spent
			table.Settle(a.Key, lease.Answer{Granted: a.Want, Free: 0}, simStart)
		}
	}
	require.Len(t, seen, 25)
	for k, spent := range seen {
		require.Equal(t, int64(3), spent, "%s", k)
	}
}

// TestFullTable: a flood of keys neither grows the table nor drives out those in
// use; when all are in use, new ones are left to the share.
func TestFullTable(t *testing.T) {
	const keys = 640 // 10 per shard, of which the test uses one
	table := lease.New(lease.Limit{Rate: 10, Burst: 8}, keys)
	for i := range 5 {
		spend(table, keyOf(i), 6, simStart)
	}
	asks := table.Plan(nil, 100, round, simStart)
	require.Len(t, asks, 5)
	for _, a := range asks {
		table.Settle(a.Key, lease.Answer{Granted: a.Want}, simStart)
	}
	for i := range 10000 {
		require.False(t, table.Take(keyOf(1000+i), 1, simStart).Known)
	}
	require.LessOrEqual(t, table.Stats().Keys, 10)
	for i := range 5 {
		require.True(t, table.Take(keyOf(i), 1, simStart).Known, "hot keys stay")
	}
	require.LessOrEqual(t, len(table.Plan(nil, 100, round, simStart)), 10)

	full := lease.New(lease.Limit{Rate: 10, Burst: 8}, 64) // one per shard
	spend(full, keyOf(1), 6, simStart)
	full.Plan(nil, 100, round, simStart)
	v := full.Take(keyOf(2), 3, simStart)
	require.False(t, v.Known)
	full.Refund(v)
	require.Equal(t, lease.Stats{Keys: 1, Untracked: 1}, full.Stats())
	require.Equal(t, []lease.Ask{}, full.Drain([]lease.Ask{}), "an unknown call of a key without account books nothing")
}

// TestNothingIsLostOrDoubled: whatever happens, what the server has charged is in
// the end what the clients have spent.
func TestNothingIsLostOrDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := lease.Limit{Rate: rapid.Float64Range(0.1, 1000).Draw(t, "rate"), Burst: rapid.IntRange(1, 19).Draw(t, "burst")}
		table := lease.New(l, 0)
		now := simStart
		var spent, charged int64
		var flying []lease.Ask
		book := func(asks []lease.Ask) {
			for _, a := range asks {
				charged += a.Spent - a.Back
			}
		}
		buckets := map[lease.Key]*leasetest.Bucket{}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				cost := rapid.IntRange(1, l.Burst).Draw(t, "cost")
				v := table.Take(keyOf(rapid.IntRange(0, 3).Draw(t, "key")), cost, now)
				switch {
				case v.Known && !v.Allowed:
				case rapid.Bool().Draw(t, "refuse"):
					table.Refund(v)
				default:
					spent += int64(cost)
				}
			},
			"plan": func(*rapid.T) {
				flying = table.Plan(flying[:0], rapid.IntRange(0, 5).Draw(t, "limit"), round, now)
				book(flying)
			},
			"answer": func(t *rapid.T) {
				for _, a := range flying {
					if buckets[a.Key] == nil {
						buckets[a.Key] = new(leasetest.Bucket)
					}
					answer := buckets[a.Key].Exchange(l, a, now)
					charged += answer.Granted
					table.Settle(a.Key, answer, now)
				}
				flying = flying[:0]
			},
			"nodes": func(t *rapid.T) { table.SetNodes(rapid.IntRange(-1, 5).Draw(t, "nodes")) },
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			},
		})
		book(table.Drain(nil))
		require.Equal(t, spent, charged)
		require.Zero(t, table.Stats().Keys)
	})
}

// TestConcurrentUse: the same under concurrency, with refunds.
func TestConcurrentUse(t *testing.T) {
	l := lease.Limit{Rate: 1000, Burst: 19}
	table := lease.New(l, 0)
	var spent atomic.Int64
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			for j := range 5000 {
				v := table.Take(keyOf((i+j)%3), 1+j%3, simStart)
				switch {
				case v.Known && !v.Allowed:
				case j%5 == 0:
					table.Refund(v)
				default:
					spent.Add(int64(1 + j%3))
				}
			}
		})
	}
	stop := make(chan struct{})
	charged := make(chan int64)
	go func() {
		var sum int64
		var asks []lease.Ask
		buckets := map[lease.Key]*leasetest.Bucket{}
		for {
			asks = table.Plan(asks[:0], 100, round, simStart)
			for _, a := range asks {
				if buckets[a.Key] == nil {
					buckets[a.Key] = new(leasetest.Bucket)
				}
				answer := buckets[a.Key].Exchange(l, a, simStart)
				sum += answer.Granted + a.Spent - a.Back
				table.Settle(a.Key, answer, simStart)
			}
			_ = table.Stats()
			select {
			case <-stop:
				charged <- sum
				return
			default:
			}
		}
	}()
	done.Wait()
	close(stop)
	sum := <-charged
	for _, a := range table.Drain(nil) {
		sum += a.Spent - a.Back
	}
	require.Equal(t, spent.Load(), sum)
}

func TestPause(t *testing.T) {
	require.Equal(t, 50*time.Millisecond, lease.Pause(100*time.Millisecond, 0, 0))
	require.Equal(t, 150*time.Millisecond, lease.Pause(100*time.Millisecond, 0, 1))
	require.Equal(t, 300*time.Millisecond, lease.Pause(100*time.Millisecond, 400*time.Millisecond, 0.5))
}
