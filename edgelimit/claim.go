package edgelimit

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/edgelimit/inflight"
	"github.com/caddyedge/caddy-edge/edgelimit/lease"
)

// claim is what one request asks of one level of a zone.
type claim struct {
	zone    *Zone
	level   *level
	key     gcra.Key
	cost    int         // what the request costs, then what was charged to the table
	entered bool        // counts for the concurrency
	charged *gcra.Limit // what the table was charged by; nil: not charged, or not to be refunded
	over    bool        // beyond the limit: a zone in shadow mode lets it pass
	left    gcra.Verdict
	shared  *sharedClaim // nil: not in a cluster
}

// sharedClaim is what a claim in a cluster has beside.
type sharedClaim struct {
	client []byte
	room   [commonKey]byte // of most keys, so that they need no memory of their own
	lease  lease.Verdict
	// breach: what refuses it is the limit of all nodes together, not only what
	// this node may grant by itself.
	breach bool
}

// commonKey is the room for the key of an address and a little more.
const commonKey = 48

func newSharedClaim(key []byte) *sharedClaim {
	s := new(sharedClaim)
	s.client = append(s.room[:0], key...)
	return s
}

// level is a width of address prefixes with its limit. The first level of a zone
// is the client, the second one the network around it.
type level struct {
	keyer keyer
	limit *gcra.Limit // nil: only concurrency
	quota *quota
	outer bool
}

// reason is which limit refused.
type reason uint8

const (
	reasonRate reason = iota
	reasonConcurrency
	reasonPenalty
	reasons
)

// String returns the stable name of the reason.
func (r reason) String() string { return [reasons]string{"rate", "concurrency", "penalty"}[r] }

// denial is a refusal; without a zone there is none.
type denial struct {
	zone   *Zone
	level  *level
	key    gcra.Key
	reason reason
	retry  time.Duration
}

// concurrencyRetry is when a client beyond its concurrency may try again: nobody
// knows when its other requests end.
const concurrencyRetry = time.Second

// keySize is the room for a key on the stack.
const keySize = 128

// claim appends the zone's claims on a request.
func (z *Zone) claim(claims []claim, r *http.Request) ([]claim, error) {
	if z.effectiveMode() == ModeOff {
		return claims, nil
	}
	if ok, err := z.concerns(r); err != nil || !ok {
		return claims, err
	}
	cost := z.cost.of(r)
	for i := range z.levels {
		lv := &z.levels[i]
		if lv.outer && !lv.keyer.covers(clientAddr(r)) {
			continue
		}
		var room [keySize]byte
		key := lv.keyer.append(room[:0], r)
		c := claim{zone: z, level: lv, key: gcra.Hash(key).With(uint64(i)), cost: cost}
		if z.shared != nil && !lv.outer {
			c.shared = newSharedClaim(key)
		}
		claims = append(claims, c)
	}
	return claims, nil
}

// effectiveMode is the mode that an operator set at run time, or else the
// config's.
func (z *Zone) effectiveMode() Mode {
	if o := z.state.override.Load(); o != nil && o.over == z.Mode {
		return o.mode
	}
	return z.Mode
}

// admit looks at all claims and then charges them. A denial by one leaves the
// others uncharged. Zones in shadow mode only report.
func (l *Limit) admit(claims []claim, r *http.Request, now gcra.Time) denial {
	var worst denial
	for i := range claims {
		c := &claims[i]
		d := c.look(now, len(claims) > 1)
		if d.zone == nil {
			continue
		}
		c.over = true
		mode := c.zone.effectiveMode()
		l.report(d, r, mode, now)
		if mode == ModeEnforce && (worst.zone == nil || d.retry > worst.retry) {
			worst = d
		}
	}
	if worst.zone == nil {
		worst = l.charge(claims, r, now)
	}
	if worst.zone != nil {
		refund(claims, now)
		leave(claims)
		return worst
	}
	for i := range claims {
		if c := &claims[i]; !c.level.outer && !c.over {
			c.zone.metrics.allowed.Inc()
		}
	}
	return denial{}
}

// look tells whether the claim would be refused. The concurrency is taken at
// once: it is exact.
func (c *claim) look(now gcra.Time, ahead bool) denial {
	z := c.zone
	if z.Penalty > 0 {
		if left, ok := z.tables.penalties.Blocked(c.key, now); ok {
			if c.shared == nil { // else the table does not know
				left = max(left, z.tables.rates.Check(c.key, c.level.limit, c.cost, now).RetryAfter)
			}
			return denial{z, c.level, c.key, reasonPenalty, left}
		}
	}
	if z.Concurrency > 0 && !c.level.outer {
		if !z.state.inflight.Enter(counter(c.key), z.Concurrency) {
			// No penalty: a browser, or an office behind one address, opens many
			// connections at once in good faith.
			return denial{z, c.level, c.key, reasonConcurrency, concurrencyRetry}
		}
		c.entered = true
	}
	if c.level.limit == nil || c.shared != nil || !ahead && z.count == nil {
		return denial{} // charging looks
	}
	if c.left = z.tables.rates.Check(c.key, c.level.limit, c.cost, now); !c.left.Allowed {
		return denial{z, c.level, c.key, reasonRate, c.penalize(c.left.RetryAfter, now)}
	}
	return denial{}
}

// charge takes what the claims cost, but for the zones that count afterwards.
// Somebody else may have been quicker since the look.
func (l *Limit) charge(claims []claim, r *http.Request, now gcra.Time) denial {
	for i := range claims {
		c := &claims[i]
		if c.level.limit == nil || c.zone.count != nil || c.over {
			continue
		}
		if c.take(now); c.left.Allowed {
			continue
		}
		c.over = true
		d := denial{c.zone, c.level, c.key, reasonRate, c.penalize(c.left.RetryAfter, now)}
		mode := c.zone.effectiveMode()
		l.report(d, r, mode, now)
		if mode == ModeEnforce {
			return d
		}
	}
	return denial{}
}

// take charges one claim if it fits.
func (c *claim) take(now gcra.Time) {
	rates := c.zone.tables.rates
	if c.shared == nil {
		if c.left = rates.Charge(c.key, c.level.limit, c.cost, now); c.left.Allowed {
			c.charged = c.level.limit
		}
		return
	}
	of := c.zone.shared
	v := of.zone.Take(c.shared.client, c.cost, time.Now())
	if v.Known {
		c.shared.breach = !v.Blind
		c.left = gcra.Verdict{Allowed: v.Allowed, RetryAfter: v.RetryAfter, Remaining: unknownRest}
		if v.Allowed {
			c.shared.lease = v
		}
		if v.Credit > 0 {
			c.lend(v.Credit, of.limit().limit, now)
		}
		return
	}
	part := of.limit()
	c.shared.breach = part == &of.base
	c.cost = min(c.cost, part.burst) // what costs more takes all that this node has
	if c.left = rates.Charge(c.key, part.limit, c.cost, now); c.left.Allowed {
		c.charged, c.shared.lease = part.limit, v
	} else {
		of.zone.Refund(v)
	}
}

// lend charges this node's share with what was granted on credit.
func (c *claim) lend(credit int, part *gcra.Limit, now gcra.Time) {
	// What exceeds the share is charged in part, and refunded not at all: a client
	// must not get back more than was taken.
	if v := c.zone.tables.rates.Force(c.key, part, credit, now); v.Allowed {
		c.charged, c.cost = part, credit
	}
}

// penalize keeps a client that went too far out for a while. It returns when the
// client may try again.
func (c *claim) penalize(retry time.Duration, now gcra.Time) time.Duration {
	p := time.Duration(c.zone.Penalty)
	if c.zone.effectiveMode() != ModeEnforce || c.shared != nil && !c.shared.breach {
		p = 0 // nobody is to pay for what was on trial, or for what nobody knows
	}
	if p > 0 {
		c.zone.tables.penalties.Block(c.key, p, now)
	}
	return max(retry, p)
}

// refund gives back what a request took that is refused after all.
func refund(claims []claim, now gcra.Time) {
	for i := range claims {
		c := &claims[i]
		if c.charged != nil {
			c.zone.tables.rates.Refund(c.key, c.charged, c.cost, now)
			c.charged = nil
		}
		if c.shared != nil {
			c.zone.shared.zone.Refund(c.shared.lease)
			c.shared.lease = lease.Verdict{}
		}
	}
}

// leave ends the request's part in the concurrency.
func leave(claims []claim) {
	for i := range claims {
		if c := &claims[i]; c.entered {
			c.zone.state.inflight.Leave(counter(c.key))
			c.entered = false
		}
	}
}

// serveCounted runs the next handlers and charges the zones that count the status
// they answered with, also when they panic, as a proxy does whose client leaves.
func (l *Limit) serveCounted(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, claims []claim) (err error) {
	sw := &statusWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	err = errPanic
	defer func() {
		status := sw.status(err)
		for i := range claims {
			if c := &claims[i]; c.zone.count != nil && c.level.limit != nil && c.zone.counted(status) {
				c.zone.tables.rates.Force(c.key, c.level.limit, c.cost, gcra.Now())
			}
		}
	}()
	err = next.ServeHTTP(sw, r)
	return err
}

// errPanic stands for what a handler that panics would have returned.
var errPanic = errors.New("panic")

// cost is what a request costs.
type cost struct {
	fixed int
	repl  string // a placeholder, or ""
	most  int
}

func (c *cost) of(r *http.Request) int {
	if c.repl == "" {
		return c.fixed
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return 1
	}
	return c.parse(repl.ReplaceAll(c.repl, ""))
}

// parse reads the cost that a placeholder gave: hostile text costs 1.
func (c *cost) parse(s string) int {
	n, err := strconv.Atoi(s)
	if errors.Is(err, strconv.ErrRange) && n > 0 {
		return c.most
	}
	if err != nil || n < 1 {
		return 1
	}
	return min(n, c.most)
}

// counter is the key of a client's concurrency.
func counter(k gcra.Key) inflight.Key {
	a, b := k.Words()
	return inflight.Key{a, b}
}
