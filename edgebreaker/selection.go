package edgebreaker

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddyedge/caddy-edge/edgebreaker/balance"
	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/upstreamhint"
)

// option is a backend that may be asked.
type option struct {
	upstream *reverseproxy.Upstream
	member   *member
	backend  *breaker.Backend
	address  string
	pinned   string // what is dialled instead of the upstream's address
	restored bool   // open, but used since too many are out
	weight   int    // that the source of upstreams knows; 0: none
	load     int    // requests that others have sent it, as far as the source knows
}

// selection is one choice among the upstreams of a proxy.
type selection struct {
	policy   *Policy
	rec      *record // nil: without edge_breaker
	registry *breaker.Registry
	repl     *caddy.Replacer

	candidates []balance.Candidate
	who        []option // of the same indexes
	out        []balance.Ejected
	ejected    []option // of the indexes in out

	refusedBy []*breaker.Backend // that let nobody in since they were collected
	broken    *reverseproxy.Upstream
	open      int           // how many are open
	probe     time.Duration // the least time until one of them may be asked
	full      int           // how many have max_requests
	unhealthy int           // how many health checks took out
	kept      int           // how many are out and stay out: half-open without room, or held open by an operator
	denied    int           // how many have an address that is not allowed
	crowded   bool          // all have as many requests as they may
}

// selections keeps their memory for the next ones.
var selections = sync.Pool{New: func() any { return new(selection) }}

func (p *Policy) selection(rec *record, repl *caddy.Replacer) *selection {
	s := selections.Get().(*selection)
	s.policy, s.rec, s.registry, s.repl = p, rec, p.registry.Value().Registry, repl
	return s
}

// done gives the memory back, without what it refers to.
func (s *selection) done() {
	clear(s.candidates[:cap(s.candidates)])
	clear(s.who[:cap(s.who)])
	clear(s.ejected[:cap(s.ejected)])
	clear(s.refusedBy)
	*s = selection{candidates: s.candidates[:0], who: s.who[:0], out: s.out[:0], ejected: s.ejected[:0], refusedBy: s.refusedBy[:0]}
	selections.Put(s)
}

// choose begins an attempt at a backend and returns whom to dial. Without one, ends
// tells that asking again is no use.
func (s *selection) choose(pool reverseproxy.UpstreamPool, r *http.Request, now time.Time, again bool) (u *reverseproxy.Upstream, ends bool) {
	rec := s.rec
	h := rec.handler
	waited := false
	for beaten := 0; ; {
		s.collect(rec.proxyCtx, pool, now)
		i := s.policy.picker.Pick(s.candidates)
		if i < 0 {
			return s.nobody()
		}
		who := &s.who[i]
		slot, ok := h.freeSlot(who.backend)
		if !ok && !s.crowded && beaten < len(pool) {
			// Another request took the last slot. There may be free ones elsewhere.
			beaten++
			continue
		}
		if !ok && !waited {
			waited = true
			slot, ok = h.takeSlot(rec.base, who.backend)
			now = time.Now()
			if !ok && rec.base.Err() == nil {
				continue // another backend may be free by now
			}
		}
		if !ok {
			rec.refused = refusal{reasonConcurrency, time.Second}
			return nil, true
		}
		attempt, change, ok := who.enter(now, &h.rules)
		report(change, who.member.counters)
		if !ok {
			// Another request took the last slot of a probe.
			slot.release()
			s.refusedBy = append(s.refusedBy, who.backend)
			continue
		}
		s.policy.prepare(rec, r, again)
		rec.slot, rec.refused, rec.restored = slot, refusal{}, who.restored
		if who.restored {
			who.member.reinstate(who.backend, h.logger)
		}
		rec.dialled = cmp.Or(who.pinned, who.address)
		rec.begin(now, attempt, try{backend: who.backend, counters: who.member.counters}, who.member.nameOf(who.address))
		return who.dialled(), false
	}
}

// enter begins an attempt.
func (o *option) enter(now time.Time, rules *breaker.Config) (breaker.Attempt, breaker.Change, bool) {
	if o.restored {
		return o.backend.Observe(now), breaker.Change{}, true
	}
	return o.backend.Enter(now, rules)
}

// collect finds those who may be asked. Until the context ends it waits for what the
// address guard has to find out.
func (s *selection) collect(ctx context.Context, pool reverseproxy.UpstreamPool, now time.Time) {
	s.candidates, s.who, s.out, s.ejected = s.candidates[:0], s.who[:0], s.out[:0], s.ejected[:0]
	s.open, s.full, s.denied, s.unhealthy, s.kept, s.probe, s.broken, s.crowded = 0, 0, 0, 0, 0, 0, nil, false
	members := s.policy.table.of(pool, s.policy.Weights)
	for i, u := range pool {
		m := members[i]
		if !u.Healthy() {
			m.sawDown(now)
			s.unhealthy++
			continue
		}
		o := option{upstream: u, member: m, address: m.address}
		if s.policy.dynamic {
			hint := upstreamhint.Of(u.Dial)
			if hint.Absent && s.rec != nil {
				continue // the handler refuses
			}
			o.weight, o.load = min(hint.Weight, mostWeight), hint.Load
		}
		if m.expands {
			o.address = expand(m.dial, s.repl)
		}
		if o.address == "" {
			s.broken = u // the proxy will say what is wrong with it
			continue
		}
		var ok bool
		if o.pinned, ok = s.policy.guard.allow(ctx, o.address); !ok {
			s.denied++
			continue
		}
		if o.backend = m.backend.Load(); o.backend == nil {
			o.backend = s.registry.Get(o.address)
		}
		if since, ok := m.sawUp(); ok {
			o.backend.Recovered(now, since)
		}
		if u.Full() {
			s.full++
			continue
		}
		s.consider(o, now)
	}
	if s.rec == nil {
		return
	}
	s.restore(len(pool), now)
	if s.rec.handler.Concurrency > 0 {
		s.crowded = !s.prefer(func(o *option) bool { return !s.rec.handler.crowded(o.backend) })
	}
	if s.rec.tries.n > 0 {
		s.preferOthers()
	}
}

// preferOthers leaves out who was tried, if there are others. One that is open is no
// better for not having been tried: it takes part by its share.
func (s *selection) preferOthers() {
	other := func(o *option) bool { return !s.rec.tries.has(o.backend) }
	if s.prefer(func(o *option) bool { return other(o) && !o.restored }) {
		return
	}
	if !slices.ContainsFunc(s.who, func(o option) bool { return !o.restored }) {
		s.prefer(other)
	}
}

// consider adds one to the candidates unless its breaker is open.
func (s *selection) consider(o option, now time.Time) {
	if s.rec == nil {
		share := 1.0
		if o.backend.State() == breaker.Closed {
			share = o.backend.Share(now, &noRules)
		}
		s.add(o, share, now)
		return
	}
	rules := &s.rec.handler.rules
	if o.backend.Ready(now, rules) && !slices.Contains(s.refusedBy, o.backend) {
		o.member.settled()
		s.add(o, o.backend.Share(now, rules), now)
		return
	}
	probe, ok := o.backend.NextProbe(now)
	if !ok {
		probe = forcedRetry
	}
	if s.open == 0 || probe < s.probe {
		s.probe = probe
	}
	s.open++
	since, ok := o.backend.EjectedAt()
	if !ok {
		s.kept++
		return
	}
	s.out = append(s.out, balance.Ejected{Index: len(s.ejected), Since: since})
	s.ejected = append(s.ejected, o)
}

func (s *selection) add(o option, share float64, now time.Time) {
	c := balance.Candidate{
		Weight: cmp.Or(o.weight, o.member.weight), Share: share,
		Active: max(o.backend.Active(), o.upstream.NumRequests()) + o.load, Turn: &o.member.turn,
	}
	if s.policy.p2c {
		c.Latency = o.backend.Latency(now)
	}
	s.candidates = append(s.candidates, c)
	s.who = append(s.who, o)
}

// restore puts those back that were open for longest, if too many of n are out. What
// health checks took out, or an operator, is out as well, and stays. Those who fail
// get little of what the others could answer.
func (s *selection) restore(n int, now time.Time) {
	if len(s.out) == 0 {
		return
	}
	allowed := balance.Ejection(n, s.rec.handler.MaxEjection) - s.unhealthy - s.kept
	for _, e := range balance.Restore(s.out, allowed) {
		o := s.ejected[e.Index]
		o.restored = true
		s.add(o, o.backend.Reinstated(), now)
	}
}

// prefer leaves those out for which f is false, unless it is false for all.
func (s *selection) prefer(f func(*option) bool) bool {
	n := 0
	for i := range s.who {
		if f(&s.who[i]) {
			s.who[n], s.who[i] = s.who[i], s.who[n]
			s.candidates[n], s.candidates[i] = s.candidates[i], s.candidates[n]
			n++
		}
	}
	if n > 0 {
		s.who, s.candidates = s.who[:n], s.candidates[:n]
	}
	return n > 0
}

// nobody tells why there is no candidate.
func (s *selection) nobody() (*reverseproxy.Upstream, bool) {
	rec := s.rec
	switch {
	case s.broken != nil:
		return s.broken, false
	case s.full > 0: // one of them may soon be free, and the proxy knows how to wait
		rec.refused = refusal{reasonUnavailable, time.Second}
		return nil, false
	case s.open > 0:
		rec.refused = refusal{reasonOpen, s.probe}
		return nil, true
	case s.denied > 0:
		rec.refused = refusal{reasonDenied, forcedRetry}
		return nil, true
	}
	rec.refused = refusal{reasonUnavailable, time.Second}
	return nil, false
}

// dialled returns the upstream, or one in its place that has the address which was
// checked. Both count for the same host.
func (o *option) dialled() *reverseproxy.Upstream {
	if o.pinned == "" {
		return o.upstream
	}
	return &reverseproxy.Upstream{Host: o.upstream.Host, Dial: o.pinned, MaxRequests: o.upstream.MaxRequests}
}
