package adaptive

import (
	"time"
)

// everyone admits all.
type everyone struct{}

func (everyone) admit(time.Time, uint64) (Ticket, bool)    { return Ticket{}, true }
func (everyone) answered(time.Time, Ticket, time.Duration) {}
func (everyone) abandoned(time.Time, Ticket)               {}

// perClient is a rate for each client, moved by the P95 every 10 s, which is
// what many gateways do.
type perClient struct {
	loop    *RateLoop // only its rate is used
	buckets map[uint64]*bucket
}

type bucket struct {
	tokens float64
	filled time.Time
}

func (p *perClient) admit(now time.Time, client uint64) (Ticket, bool) {
	rate := p.loop.Status(now).Rate
	b := p.buckets[client]
	if b == nil {
		b = &bucket{tokens: rate, filled: now}
		p.buckets[client] = b
	}
	b.tokens = min(b.tokens+now.Sub(b.filled).Seconds()*rate, max(rate, 1))
	b.filled = now
	if b.tokens < 1 {
		return Ticket{}, false
	}
	b.tokens--
	return Ticket{}, true
}

func (p *perClient) answered(now time.Time, _ Ticket, latency time.Duration) {
	p.loop.Observe(now, latency)
}

func (p *perClient) abandoned(now time.Time, _ Ticket) { p.loop.Observe(now, 5*time.Second) }

// byRate is the rate loop.
type byRate struct{ loop *RateLoop }

func (p byRate) admit(now time.Time, _ uint64) (Ticket, bool) {
	_, ok := p.loop.Allow(now)
	return Ticket{}, ok
}

func (p byRate) answered(now time.Time, _ Ticket, latency time.Duration) {
	p.loop.Observe(now, latency)
}

func (p byRate) abandoned(now time.Time, _ Ticket) { p.loop.Observe(now, 5*time.Second) }

// inFlight is the limiter.
type inFlight struct{ *Limiter }

func (p inFlight) admit(now time.Time, client uint64) (Ticket, bool) {
	ticket, refused := p.Acquire(now, Request{Client: client})
	return ticket, !refused.Refused()
}

func (p inFlight) answered(now time.Time, t Ticket, _ time.Duration) {
	t.Header(now)
	t.Release(now)
}

func (p inFlight) abandoned(now time.Time, t Ticket) {
	t.Abandoned(now)
	t.Release(now)
}

func rateLoopPolicy(cfg RateConfig) func(time.Time) policy {
	return func(now time.Time) policy {
		loop, err := NewRateLoop(cfg, now)
		if err != nil {
			panic(err)
		}
		return byRate{loop}
	}
}

func perClientPolicy(cfg RateConfig) func(time.Time) policy {
	return func(now time.Time) policy {
		loop, err := NewRateLoop(cfg, now)
		if err != nil {
			panic(err)
		}
		return &perClient{loop, map[uint64]*bucket{}}
	}
}

func inFlightPolicy(cfg Config) func(time.Time) policy {
	return func(now time.Time) policy {
		limiter, err := New(cfg, now)
		if err != nil {
			panic(err)
		}
		return inFlight{limiter}
	}
}
