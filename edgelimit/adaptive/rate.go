package adaptive

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/caddyedge/caddy-edge/internal/histogram"
)

// RateConfig sets up a RateLoop. The zero value of each field means its default.
type RateConfig struct {
	// Interval is the time between two evaluations. Default 10 s.
	Interval time.Duration
	// Threshold is the P95 latency above which the rate is reduced. Default
	// 500 ms.
	Threshold time.Duration
	// Reduction is what the rate is multiplied by then. Default 0.8.
	Reduction float64
	// Recovery is what the rate is multiplied by when the P95 is below
	// RecoverBelow times the threshold. Defaults 1.1 and 0.7.
	Recovery, RecoverBelow float64
	// Min and Max bound the rate, in requests per second for all clients
	// together. Defaults 10 and 500.
	Min, Max float64
	// Initial is the rate to start with. Default Max.
	Initial float64
	// OnChange, if not nil, is called for each change of state, by the goroutine
	// whose call brought it about and without any lock held.
	OnChange func(RateChange)
}

// RateChange is a change of a RateLoop's state.
type RateChange struct {
	From, To RateState
	// Rate is the new rate, P95 the latency that led to it.
	Rate float64
	P95  time.Duration
}

func (c RateConfig) withDefaults() RateConfig {
	set := func(v *float64, otherwise float64) {
		if *v == 0 {
			*v = otherwise
		}
	}
	if c.Interval == 0 {
		c.Interval = 10 * time.Second
	}
	if c.Threshold == 0 {
		c.Threshold = 500 * time.Millisecond
	}
	set(&c.Reduction, 0.8)
	set(&c.Recovery, 1.1)
	set(&c.RecoverBelow, 0.7)
	set(&c.Min, 10)
	set(&c.Max, 500)
	set(&c.Initial, c.Max)
	return c
}

// Validate reports the first value that makes no sense, with the defaults filled
// in.
func (c RateConfig) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Interval < 100*time.Millisecond || c.Interval > time.Hour:
		return fmt.Errorf("interval must be from 100ms to 1h, not %s", c.Interval)
	case c.Threshold < time.Millisecond || c.Threshold > time.Minute:
		return fmt.Errorf("p95 must be from 1ms to 1m, not %s", c.Threshold)
	case !(c.Reduction > 0 && c.Reduction < 1):
		return fmt.Errorf("reduction must be above 0 and below 1, not %v", c.Reduction)
	case !(c.Recovery > 1 && c.Recovery <= 10):
		return fmt.Errorf("recovery must be above 1 and at most 10, not %v", c.Recovery)
	case !(c.RecoverBelow > 0 && c.RecoverBelow <= 1):
		return fmt.Errorf("recover_below must be above 0 and at most 1, not %v", c.RecoverBelow)
	case !(c.Min >= 0.1):
		return fmt.Errorf("min must be at least 0.1 per second, not %v", c.Min)
	case !(c.Min < c.Max):
		return fmt.Errorf("min must be below max, but %v is not below %v", c.Min, c.Max)
	case !(c.Max <= 1e9):
		return fmt.Errorf("max must be at most 1e9 per second, not %v", c.Max)
	case !(c.Initial >= c.Min && c.Initial <= c.Max):
		return fmt.Errorf("initial must be from min %v to max %v, not %v", c.Min, c.Max, c.Initial)
	}
	return nil
}

// RateState tells what the last evaluation of a RateLoop did.
type RateState uint8

const (
	// RateNormal means that the rate stayed.
	RateNormal RateState = iota
	// RateReducing means that it was reduced. The next evaluation will not
	// reduce it again, as its samples may come from before.
	RateReducing
	// RateRecovering means that it was raised.
	RateRecovering
)

// String returns the lower-case name.
func (s RateState) String() string {
	return [...]string{"normal", "reducing", "recovering"}[s]
}

// RateLoop is a rate for all clients together, moved by the P95 of the origin's
// latency at fixed intervals. It admits by a token bucket that holds one second
// of the rate. It is simple and well known, but slow, and blind to what is
// already queued at the origin; Limiter is better in every measured respect. It
// is safe for concurrent use.
type RateLoop struct {
	mu      sync.Mutex // guards everything below
	cfg     RateConfig
	rate    float64
	state   RateState
	told    RateState // by OnChange
	uncut   uncut
	latency histogram.Histogram
	last    Percentiles
	next    time.Time // end of the interval
	tokens  float64
	filled  time.Time // time of tokens
}

// NewRateLoop returns a loop at its initial rate and with a full bucket.
func NewRateLoop(cfg RateConfig, now time.Time) (*RateLoop, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &RateLoop{
		cfg: cfg, rate: cfg.Initial, next: now.Add(cfg.Interval),
		tokens: max(cfg.Initial, 1), filled: now,
	}, nil
}

// Allow takes a token. If there is none it returns the time until there is one.
func (r *RateLoop) Allow(now time.Time) (retryAfter time.Duration, ok bool) {
	r.mu.Lock()
	defer r.unlock()
	r.advance(now)
	if r.tokens >= 1 {
		r.tokens--
		return 0, true
	}
	return time.Duration(math.Ceil((1 - r.tokens) / r.rate * float64(time.Second))), false
}

// Observe counts the latency of one answer.
func (r *RateLoop) Observe(now time.Time, latency time.Duration) {
	r.mu.Lock()
	defer r.unlock()
	r.advance(now)
	r.latency.Record(latency)
}

// RateStatus is a snapshot of a RateLoop.
type RateStatus struct {
	// Rate is in requests per second.
	Rate  float64
	State RateState
	// Threshold is the P95 above which the rate is reduced.
	Threshold time.Duration
	// Latency is that of the last interval that had samples.
	Latency Percentiles
}

// Status returns a snapshot, after the evaluation that is due, if any.
func (r *RateLoop) Status(now time.Time) RateStatus {
	r.mu.Lock()
	defer r.unlock()
	r.advance(now)
	return RateStatus{Rate: r.rate, State: r.state, Threshold: r.cfg.Threshold, Latency: r.last}
}

// Reconfigure applies another configuration and keeps the rate, brought into the
// new bounds. Initial does not matter then. An error changes nothing.
func (r *RateLoop) Reconfigure(now time.Time, cfg RateConfig) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.unlock()
	r.advance(now)
	before := r.cfg.Interval
	r.cfg = cfg.withDefaults()
	r.rate = r.uncut.bound(r.rate, r.cfg.Min, r.cfg.Max)
	if r.cfg.Interval != before {
		r.next = now.Add(r.cfg.Interval)
	}
	return nil
}

// unlock unlocks mu and reports a change of state, if there was one.
func (r *RateLoop) unlock() {
	change := RateChange{From: r.told, To: r.state, Rate: r.rate, P95: r.last.P95}
	r.told = r.state
	report := r.cfg.OnChange
	r.mu.Unlock()
	if report != nil && change.From != change.To {
		report(change)
	}
}

// advance fills the bucket and evaluates the interval that has ended.
func (r *RateLoop) advance(now time.Time) {
	if elapsed := now.Sub(r.filled); elapsed > 0 {
		r.tokens = min(r.tokens+elapsed.Seconds()*r.rate, max(r.rate, 1))
		r.filled = now
	}
	if now.Before(r.next) {
		return
	}
	r.evaluate()
	r.next = r.next.Add(r.cfg.Interval)
	if !now.Before(r.next) {
		// Intervals in which nobody called had no samples and change nothing.
		r.state = RateNormal
		r.next = now.Add(r.cfg.Interval)
	}
}

func (r *RateLoop) evaluate() {
	before := r.state
	r.state = RateNormal
	if r.latency.Len() == 0 {
		return
	}
	r.last = percentiles(&r.latency)
	r.latency.Reset()
	threshold := float64(r.cfg.Threshold)
	switch p95 := float64(r.last.P95); {
	case p95 > threshold && before != RateReducing:
		r.move(r.rate*r.cfg.Reduction, RateReducing)
	case p95 < threshold*r.cfg.RecoverBelow:
		r.move(r.rate*r.cfg.Recovery, RateRecovering)
	}
}

func (r *RateLoop) move(rate float64, state RateState) {
	if rate = min(max(rate, r.cfg.Min), r.cfg.Max); rate != r.rate {
		r.rate, r.state = rate, state
	}
}
