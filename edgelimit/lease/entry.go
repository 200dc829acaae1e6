package lease

import (
	"math"
	"time"
)

// entry is the account of one key on this node. The mutex of its shard guards it.
type entry struct {
	key   Key
	life  uint64 // tells the accounts apart that a key has had
	lease int64  // charged by the server, not spent
	// credit may be spent before it is charged.
	credit int64
	spent  int64 // spent, not charged

	// free was left in the bucket at the last answer, without what has been told to
	// the server since; a debt when negative.
	free     float64
	due      int64     // of free, asked for: the answer is on its way
	answered time.Time // of the last answer; zero for none

	asked  int64     // cost of all calls since the last plan, refused ones too
	used   int64     // of asked, what was granted
	most   int64     // the greatest cost refused since the last plan
	pace   float64   // use per second: rises at once, falls slowly
	level  float64   // of a bucket that leaks at half of the share's rate
	seen   time.Time // last call
	leaked time.Time // up to which level is reckoned
	hot    bool
	live   bool // in the shard's list of entries to plan
	denied bool // since the last plan
}

// Verdict is the answer of [Table.Take].
type Verdict struct {
	// Known says that the table decided. If it is false the caller has to decide
	// by the share of this node.
	Known bool
	// Allowed is the decision. It means nothing unless Known.
	Allowed bool
	// RetryAfter is the time after which the cost would fit if nobody else spent
	// anything, when refused: at least one round, negative when the cost is above
	// the burst and never fits.
	RetryAfter time.Duration
	// Credit is the part of the cost that no lease covers and that the server has
	// not been told of yet, when Known and Allowed. The caller has to charge it to
	// this node's share of the limit, too, whether it fits there or not: credit and
	// share are one allowance.
	Credit int
	// Blind says that everything is refused since nobody knows what the client
	// has left.
	Blind bool

	key  Key
	life uint64 // of the account that booked it
	cost int64  // what the table holds for spent
}

// take decides about cost and books it.
func (e *entry) take(cost int64, l Limit, now time.Time, fresh, round time.Duration) Verdict {
	e.asked = min(e.asked+cost, MaxBurst)
	e.seen = now
	v := Verdict{Known: true, Allowed: true, key: e.key, life: e.life, cost: cost}
	old := now.Sub(e.answered) > fresh
	switch {
	case e.lease >= cost:
		e.lease -= cost
	case e.answered.IsZero() || old && e.left()+l.Rate*now.Sub(e.answered).Seconds() >= float64(cost):
		e.spent += cost
		v.Known, v.Allowed = false, false
	case !old && e.lease+e.credit >= cost:
		rest := cost - e.lease
		e.lease = 0
		e.credit -= rest
		e.spent += rest
		v.Credit = int(rest)
	default:
		// An old answer that left nothing is as good as a new one: the key is asked
		// for in the next round, whatever comes of it.
		e.refuse(cost)
		v.Allowed, v.cost = false, 0
		// What is on its way counts as there.
		lacks := float64(cost-e.due) - e.left()
		v.RetryAfter = max(l.refill(lacks)-now.Sub(e.answered), round)
		return v
	}
	e.used += cost
	return v
}

// left is what this node could hope for at the last answer: what it holds and
// what was in the bucket, without what is asked for or not charged yet.
func (e *entry) left() float64 { return float64(e.lease-e.due-e.spent) + e.free }

// refuse notes a call that was refused for want of tokens.
func (e *entry) refuse(cost int64) {
	e.denied = true
	e.most = max(e.most, cost)
}

// refund takes back what a call booked. It goes off the spent tokens first: those
// need not be charged then, and may be spent on credit once more. What has been
// charged becomes lease.
func (e *entry) refund(v Verdict, nodes int) {
	uncharged := min(v.cost, e.spent)
	e.spent -= uncharged
	e.credit = min(e.credit+uncharged, e.creditLine(nodes))
	e.lease += v.cost - uncharged
	e.used -= min(v.cost, e.used)
	// A call left to the share may have been refused by it: it was wanted of this
	// limit, and the key has to be asked for.
	if v.Known {
		e.unask(v.cost)
	} else {
		e.most = max(e.most, v.cost)
	}
}

// unask takes a call that something else refused off the measures of use. What
// was refused here for the sake of it does not make the key hot either.
func (e *entry) unask(cost int64) {
	recent := min(cost, e.asked)
	e.asked -= recent
	e.level = math.Max(0, e.level-float64(cost-recent))
	e.denied = false
}

// reckon brings the measures of use up to now, at the end of a round.
func (e *entry) reckon(l Limit, nodes int, round time.Duration, now time.Time) {
	half := l.Rate / float64(2*nodes)
	brim := math.Max(1, float64(l.Burst)/float64(2*nodes))
	e.level = math.Max(0, e.level-half*now.Sub(e.leaked).Seconds())
	e.leaked = now
	e.level += float64(e.asked)
	if e.level > brim || e.denied {
		e.hot = true
	}
	if e.level == 0 {
		e.hot = false
	}
	// Bounded, so that a flood does not keep the key hot for long after it.
	e.level = math.Min(e.level, 2*brim)

	pace := e.usable(l, round) / round.Seconds()
	if pace < e.pace {
		pace = 0.7*e.pace + 0.3*pace
	}
	e.pace = pace
	e.asked, e.used, e.most, e.denied = 0, 0, 0, false
}

// usable is what the client could have spent in the last round: what it was
// granted, and of what it was refused no more than comes in within a round, or one
// call. However much a client asks for beyond its limit, that makes no lease.
func (e *entry) usable(l Limit, round time.Duration) float64 {
	refused := float64(max(0, e.asked-e.used))
	return float64(e.used) + math.Min(refused, math.Max(l.Rate*round.Seconds(), float64(e.most)))
}

// target is the lease that a hot key should have: its use in two rounds.
func (e *entry) target(l Limit, round time.Duration) int64 {
	if !e.hot {
		return 0
	}
	return int64(math.Min(math.Round(2*e.pace*round.Seconds()), float64(l.Burst)))
}

// settle books an answer. What was spent while it was on its way, and is not left
// in the bucket, comes off the lease.
func (e *entry) settle(a Answer, nodes int, now time.Time) {
	e.lease += a.Granted
	e.free, e.due = a.Free, 0
	e.answered = now
	owed := e.spent - int64(math.Max(0, math.Floor(e.free)))
	paid := max(0, min(owed, e.lease))
	e.lease -= paid
	e.spent -= paid
	e.credit = e.creditLine(nodes)
}

// unanswered forgets the last answer.
func (e *entry) unanswered() {
	e.free, e.due, e.credit = 0, 0, 0
	e.answered = time.Time{}
}

// creditLine is the most that may be on credit: this node's part of what was left
// at the last answer, without what has been spent and not charged.
func (e *entry) creditLine(nodes int) int64 {
	part := min(math.Floor(e.free/float64(nodes)), math.Floor(e.free)-float64(e.due))
	return max(0, int64(part)-e.spent)
}
