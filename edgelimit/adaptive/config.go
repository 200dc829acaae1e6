package adaptive

import (
	"errors"
	"fmt"
	"time"
)

// Config sets up a Limiter. The zero value of each field means its default.
type Config struct {
	// Target is the P95 latency that the origin may have, from the end of the
	// request to the first response header. Default 500 ms. It should be five
	// times the latency of the idle origin or more: a target below what the
	// origin needs anyway drives the limit to Min.
	Target time.Duration
	// BaselineFactor, if not 0, makes the target this multiple of the lowest
	// median latency of the long term; Target then counts until the first
	// window, and 10 ms is the least target. At least 2; 8 suits most origins.
	BaselineFactor float64
	// Min is the least limit. Default 4: enough to see a dead origin come back.
	Min int
	// Max is the greatest limit. Default 10000.
	Max int
	// Initial is the limit to start with. Default 100, brought into Min..Max:
	// more than most origins can use, since coming down takes a few windows, and
	// refusing what the origin could have served cannot be made good.
	Initial int
	// Uploads is the cap of requests whose body is slow to come. They return to
	// slots above the limit, so it bounds by how much. Default: the limit of the
	// moment, at least 100.
	Uploads int
	// Streams is the cap of long-lived responses. Default 10000.
	Streams int
	// NoFairShare admits by the limit alone, whoever asks.
	NoFairShare bool
	// QueueSize is the number of requests that may wait for a slot. Default 0,
	// which means that none does.
	QueueSize int
	// QueueDeadline is how long a request waits at most. Default 100 ms. Once
	// the queue has not been empty for this long, requests wait for a twentieth
	// of it only, and the last to come is served first.
	QueueDeadline time.Duration
	// OnChange, if not nil, is called for each change of state, by the
	// goroutine whose call brought it about and without any lock held. Calls
	// may overlap.
	OnChange func(Change)
}

// Bounds of a target made by BaselineFactor.
const leastTarget = 10 * time.Millisecond

func (c Config) withDefaults() Config {
	if c.Target == 0 {
		c.Target = 500 * time.Millisecond
	}
	if c.Min == 0 {
		c.Min = 4
	}
	if c.Max == 0 {
		c.Max = 10000
	}
	if c.Initial == 0 {
		c.Initial = min(max(100, c.Min), c.Max)
	}
	if c.Streams == 0 {
		c.Streams = 10000
	}
	if c.QueueDeadline == 0 {
		c.QueueDeadline = 100 * time.Millisecond
	}
	return c
}

// Validate reports the first value that makes no sense. It looks at the values
// that New would use, that is with the defaults filled in.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Target < time.Millisecond || c.Target > time.Minute:
		return fmt.Errorf("p95 must be from 1ms to 1m, not %s", c.Target)
	case c.BaselineFactor != 0 && !(c.BaselineFactor >= 2 && c.BaselineFactor <= 1000):
		return fmt.Errorf("baseline must be from 2 to 1000, not %v", c.BaselineFactor)
	case c.Min < 1:
		return fmt.Errorf("min must be at least 1, not %d", c.Min)
	case c.Min >= c.Max:
		return fmt.Errorf("min must be below max, but %d is not below %d", c.Min, c.Max)
	case c.Max > 1_000_000:
		return fmt.Errorf("max must be at most 1000000, not %d", c.Max)
	case c.Initial < c.Min || c.Initial > c.Max:
		return fmt.Errorf("initial must be from min %d to max %d, not %d", c.Min, c.Max, c.Initial)
	case c.Uploads < 0:
		return fmt.Errorf("uploads must be at least 1, not %d", c.Uploads)
	case c.Streams < 1:
		return fmt.Errorf("streams must be at least 1, not %d", c.Streams)
	case c.QueueSize < 0:
		return errors.New("queue must not be negative")
	case c.QueueDeadline < time.Millisecond || c.QueueDeadline > time.Minute:
		return fmt.Errorf("queue_deadline must be from 1ms to 1m, not %s", c.QueueDeadline)
	}
	return nil
}
