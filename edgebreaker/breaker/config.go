package breaker

import (
	"fmt"
	"time"
)

// Config are the rules of one handler. The state belongs to the backend: handlers
// with other rules share it, and each attempt is judged by the rules that it came
// with. A Config must not be changed while it is used.
type Config struct {
	// Failures is the number of consecutive failures that opens. 0: off.
	Failures int
	// FailureRatio is the share of the requests in the window, above 0 to 1, whose
	// failure opens. 0: off.
	FailureRatio float64
	// FailureMinRequests is the number of requests in the window below which
	// FailureRatio says nothing. At least 1 when FailureRatio is set.
	FailureMinRequests int
	// SlowRatio is the share of slow calls in the window, above 0 to 1, that opens,
	// or re-opens when the probes have it. 0: off.
	SlowRatio float64
	// Slow is the time to the header from which on a call is slow.
	Slow time.Duration
	// SlowMinRequests is the number of requests in the window below which SlowRatio
	// says nothing. At least 1 when SlowRatio is set.
	SlowMinRequests int
	// Window is how far back the ratios look, 1s to 10m. Its resolution is 250ms up
	// to 30s, then 5s. Only needed with a ratio.
	Window time.Duration
	// Successes is the number of probes that must succeed, one after another or
	// together, to close. At least 1.
	Successes int
	// Probes is the number of probes that may wait for their header at once. At
	// least 1.
	Probes int
	// OpenFor is the time that it stays open at first. It doubles each time that it
	// opens again, up to MaxOpenFor, and starts over when it was closed for as long
	// as it had been open. Up to a tenth is added at random, also bounded by
	// MaxOpenFor, so that the nodes of a cluster do not probe at the same time;
	// with both alike it is exact.
	OpenFor, MaxOpenFor time.Duration
	// Ramp is the slow start after a recovery. Zero: none.
	Ramp Ramp
}

// Bounds of a Config.
const (
	leastWindow   = time.Second
	longestWindow = 10 * time.Minute
	longestOpen   = 24 * time.Hour
	mostRequests  = 1_000_000
	mostProbes    = 10_000
)

// Validate reports the first value that makes no sense, by the name of its option.
func (c *Config) Validate() error {
	switch {
	case c.Failures < 0 || c.Failures > mostRequests:
		return fmt.Errorf("failures must be from 1 to %d, or off, not %d", mostRequests, c.Failures)
	case !ratioOrOff(c.FailureRatio):
		return fmt.Errorf("failure_ratio must be above 0 and at most 1, not %v", c.FailureRatio)
	case c.FailureRatio > 0 && (c.FailureMinRequests < 1 || c.FailureMinRequests > mostRequests):
		return fmt.Errorf("failure_ratio needs a volume of 1 to %d requests, not %d", mostRequests, c.FailureMinRequests)
	case !ratioOrOff(c.SlowRatio):
		return fmt.Errorf("slow_ratio must be above 0 and at most 1, not %v", c.SlowRatio)
	case c.SlowRatio > 0 && (c.SlowMinRequests < 1 || c.SlowMinRequests > mostRequests):
		return fmt.Errorf("slow_ratio needs a volume of 1 to %d requests, not %d", mostRequests, c.SlowMinRequests)
	case c.SlowRatio > 0 && c.Slow <= 0:
		return fmt.Errorf("slow_ratio needs a latency above 0, not %s", c.Slow)
	case c.ratios() && (c.Window < leastWindow || c.Window > longestWindow):
		return fmt.Errorf("window must be from %s to %s, not %s", leastWindow, longestWindow, c.Window)
	case c.Successes < 1 || c.Successes > mostRequests:
		return fmt.Errorf("successes must be from 1 to %d, not %d", mostRequests, c.Successes)
	case c.Probes < 1 || c.Probes > mostProbes:
		return fmt.Errorf("probes must be from 1 to %d, not %d", mostProbes, c.Probes)
	case c.OpenFor < time.Millisecond || c.OpenFor > longestOpen:
		return fmt.Errorf("open must be from 1ms to %s, not %s", longestOpen, c.OpenFor)
	case c.MaxOpenFor < c.OpenFor || c.MaxOpenFor > longestOpen:
		return fmt.Errorf("the maximum of open must be from %s to %s, not %s", c.OpenFor, longestOpen, c.MaxOpenFor)
	}
	return c.Ramp.validate()
}

// ratioOrOff is false for NaN too.
func ratioOrOff(r float64) bool { return r >= 0 && r <= 1 }

// ratios reports whether there is a rule that needs the window.
func (c *Config) ratios() bool { return c.FailureRatio > 0 || c.SlowRatio > 0 }

// speed is what a rule for slow calls says about one.
type speed uint8

const (
	untimed speed = iota // there is no rule, or no header
	fast
	slow
)

// speedOf judges a latency; c may be nil.
func speedOf(latency time.Duration, c *Config) speed {
	switch {
	case c == nil || c.SlowRatio == 0:
		return untimed
	case latency >= c.Slow:
		return slow
	}
	return fast
}
