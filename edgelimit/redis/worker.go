package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
)

const (
	beatEvery  = time.Second
	maxBackoff = 2 * time.Second
	maxAsks    = 4096 // per round
)

// After a loss the other nodes need up to a time and a half of maxBackoff to come
// back, as this one did. They are not taken for dead before.
const reunion = 2 * maxBackoff

// worker is the state of the goroutine that talks to the server.
type worker struct {
	planned  time.Time // last plan
	beaten   time.Time // last heartbeat
	reunited time.Time // until then nodes once known count on
	failures int       // in a row
	calls    []call
	asks     []lease.Ask
}

// run makes rounds until ctx is done.
func (n *Node) run(ctx context.Context) {
	defer close(n.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			n.depart()
			return
		case <-timer.C:
		}
		began := time.Now()
		err := n.turn(ctx, began)
		took := time.Since(began)
		switch {
		case ctx.Err() != nil:
			continue // cut off by Close, which says nothing about the server
		case err != nil:
			n.worker.failures++
			n.become(offline, err)
			timer.Reset(backoff(n.cfg.Interval, n.worker.failures, rand.Float64())) //nolint:gosec // spreads load, keeps no secret
		default:
			n.worker.failures = 0
			n.succeeded(took)
			timer.Reset(lease.Pause(n.cfg.Interval, took, rand.Float64())) //nolint:gosec // as above
		}
	}
}

// backoff is the pause after a number of failures in a row: the interval, doubled
// each time up to 2 s, times 0.5 to 1.5. random is from 0 to 1.
func backoff(interval time.Duration, failures int, random float64) time.Duration {
	d := interval
	for range min(failures-1, 16) {
		d = min(2*d, maxBackoff)
	}
	return time.Duration(float64(min(d, maxBackoff)) * (0.5 + random))
}

// turn makes one round.
func (n *Node) turn(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.Timeout, fmt.Errorf("no answer within %s", n.cfg.Timeout))
	defer cancel()
	err := n.talk(ctx, now)
	if errors.Is(err, context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return err
}

func (n *Node) talk(ctx context.Context, now time.Time) error {
	s, err := n.reach(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the Redis server: %w", err)
	}
	lost := n.state.Load() != online
	if lost || now.Sub(n.worker.beaten) >= beatEvery {
		alive, err := s.beat(ctx, n.id, n.beatTTL())
		if err != nil {
			return fmt.Errorf("sending the heartbeat: %w", err)
		}
		n.worker.beaten = now
		if n.state.Load() == offline {
			n.worker.reunited = now.Add(reunion)
		}
		if now.Before(n.worker.reunited) {
			alive = max(alive, n.Nodes())
		}
		n.alive.Store(int32(max(alive, 1)))
	}
	zones, leaving := n.allZones()
	if lost {
		// What the accounts say is from before.
		for _, z := range append(zones, leaving...) {
			z.table.Reset()
		}
		n.worker.planned = now.Add(-n.cfg.Interval)
		n.become(online, nil)
	}
	calls := n.collect(zones, leaving, now)
	if err := s.exchange(ctx, calls); err != nil {
		return fmt.Errorf("exchanging leases: %w", err)
	}
	n.settle(calls, time.Now())
	return nil
}

// reach returns the connection, and makes it if there is none.
func (n *Node) reach(ctx context.Context) (server, error) {
	n.mu.Lock()
	s := n.server
	n.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := n.dial(ctx)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = s
	return s, nil
}

// beatTTL is the time after which a silent node is taken for dead.
func (n *Node) beatTTL() time.Duration { return 5 * max(beatEvery, n.cfg.Interval+n.cfg.Timeout) }

// allZones returns the zones in use, told the number of nodes, and those that were
// left since the last time.
func (n *Node) allZones() (zones, leaving []*zone) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, z := range n.zones {
		z.table.SetNodes(n.Nodes())
		zones = append(zones, z)
	}
	leaving, n.leaving = n.leaving, nil
	return zones, leaving
}

// collect ends the round of all zones.
func (n *Node) collect(zones, leaving []*zone, now time.Time) []call {
	w := &n.worker
	round := now.Sub(w.planned)
	w.planned = now
	w.calls = w.calls[:0]
	for _, z := range zones {
		w.asks = z.table.Plan(w.asks[:0], maxAsks-len(w.calls), round, now)
		w.add(z)
	}
	for _, z := range leaving {
		w.asks = z.table.Drain(w.asks[:0])
		w.add(z)
	}
	return w.calls
}

func (w *worker) add(z *zone) {
	for _, a := range w.asks {
		w.calls = append(w.calls, call{zone: z, ask: a})
	}
}

// settle books the answers.
func (n *Node) settle(calls []call, now time.Time) {
	var sum Stats
	var failed error
	for i := range calls {
		c := &calls[i]
		if c.err != nil {
			c.zone.table.Unanswered(c.ask.Key)
			failed = c.err
			sum.Errors++
			continue
		}
		c.zone.table.Settle(c.ask.Key, c.answer, now)
		sum.Exchanges++
		sum.Granted += c.answer.Granted
		sum.Returned += c.ask.Back
		sum.Charged += c.ask.Spent
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts.Exchanges += sum.Exchanges
	n.counts.Granted += sum.Granted
	n.counts.Returned += sum.Returned
	n.counts.Charged += sum.Charged
	n.counts.Errors += sum.Errors
	if failed != nil {
		n.counts.LastError = failed.Error()
		n.counts.ErrorAt = now
	}
}

func (n *Node) succeeded(took time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts.Rounds++
	n.counts.RoundTrip = took
}

// depart gives everything back and closes the connection.
func (n *Node) depart() {
	n.mu.Lock()
	s := n.server
	n.server = nil
	n.mu.Unlock()
	was := n.state.Swap(offline)
	if s == nil {
		return
	}
	defer s.close()
	if was != online {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout)
	defer cancel()
	zones, leaving := n.allZones()
	// Nobody is left to hear of an error: leases and heartbeat run out by themselves.
	_ = s.exchange(ctx, n.collect(nil, append(zones, leaving...), time.Now()))
	_ = s.leave(ctx, n.id)
}
