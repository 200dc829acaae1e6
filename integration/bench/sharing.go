package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

const (
	mostOvershoot  = 1.10
	mostSharedCost = 1.05
	clusterSeed    = 1
)

// outage is when the shared server is away.
type outage struct{ from, to, end time.Duration }

// runCluster measures limits that several nodes share.
func runCluster(ctx context.Context, b *bench) error {
	c, err := b.startCluster(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	length, cold := time.Minute, coldKeys
	away := outage{10 * time.Second, 20 * time.Second, 40 * time.Second}
	if b.short {
		length, cold = 15*time.Second, coldKeysShort
		away = outage{3 * time.Second, 8 * time.Second, 14 * time.Second}
	}
	if err := c.overshoot(ctx, b, length, cold); err != nil {
		return err
	}
	if err := c.outage(ctx, b, away); err != nil {
		return err
	}
	return c.path(ctx, b)
}

// overshoot has hot keys ask for more than is legal all the time, and cold ones
// once, on all nodes at the same time.
func (c *cluster) overshoot(ctx context.Context, b *bench, length time.Duration, cold int) error {
	random := rand.New(rand.NewPCG(clusterSeed, 0)) //nolint:gosec // load is no secret
	arrivals := slices.Concat(hotArrivals(random, 0, length), coldArrivals(hotKeys, cold, length))
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
	outcomes, err := c.load(arrivals).run(ctx)
	if err != nil {
		return err
	}
	grants, failed := grantsOf(arrivals, outcomes)
	for _, class := range []struct {
		name string
		is   func(int) bool
	}{{"hot", func(n int) bool { return n < hotKeys }}, {"cold", func(n int) bool { return n >= hotKeys }}} {
		e := excessOf(grants, clusterQuota, 0, class.is)
		b.table.addOvershoot(class.name, e, failed, length)
	}
	return nil
}

// addOvershoot judges the key of a class that got the most.
func (t *table) addOvershoot(class string, e excess, failed int, length time.Duration) {
	t.add(finding{
		what: class + " keys", measured: fmt.Sprintf("worst key %.2fx, all %.2fx", e.worst, e.all),
		target: fmt.Sprintf("<= %.2fx of the limit", mostOvershoot), reached: e.worst > 0 && e.worst <= mostOvershoot && failed == 0,
		beside: fmt.Sprintf("asked for %.2fx in %s, %d failed", e.asked, length, failed),
	})
}

// outage kills the shared server under load and starts it again.
func (c *cluster) outage(ctx context.Context, b *bench, away outage) error {
	random := rand.New(rand.NewPCG(clusterSeed, 1)) //nolint:gosec // load is no secret
	const first = hotKeys + coldKeys                // clients that come for the first time
	arrivals := hotArrivals(random, first, away.end)
	start, broken := time.Now(), make(chan error, 1)
	go func() {
		broken <- func() error {
			if !sleepUntil(ctx, start.Add(away.from)) {
				return ctx.Err()
			}
			if err := c.redis.Kill(); err != nil {
				return err
			}
			if !sleepUntil(ctx, start.Add(away.to)) {
				return ctx.Err()
			}
			return c.redis.Start(ctx)
		}()
	}()
	outcomes, err := c.load(arrivals).run(ctx)
	if err := errors.Join(err, <-broken); err != nil {
		return err
	}
	_, failed := grantsOf(arrivals, outcomes)
	b.table.add(finding{
		what: "failed in an outage", measured: fmt.Sprintf("%d of %d", failed, len(arrivals)),
		target: "none", reached: failed == 0,
		beside: fmt.Sprintf("redis away from %s to %s of %s", away.from, away.to, away.end),
	})
	b.table.addOutage(arrivals, outcomes, away)
	return nil
}

// addOutage judges what passed. Losing the server may give each key one burst
// more, since every node goes on with a share of its own; and so may a server that
// comes back without its data.
func (t *table) addOutage(arrivals []arrival, outcomes []outcome, away outage) {
	everyone := func(int) bool { return true }
	for _, part := range []struct {
		what     string
		from, to time.Duration
		bursts   int
	}{{"limits without redis", away.from, away.to, 1}, {"limits, redis is back", away.to, away.end, 2}} {
		n := slices.IndexFunc(arrivals, func(a arrival) bool { return a.at >= part.to })
		if n < 0 {
			n = len(arrivals)
		}
		grants, _ := grantsOf(arrivals[:n], outcomes[:n])
		more := float64(part.bursts) * clusterQuota.burst
		strict, with := excessOf(grants, clusterQuota, 0, everyone), excessOf(grants, clusterQuota, more, everyone)
		passed := passedBetween(arrivals, outcomes, part.from, part.to) / (hotKeys * clusterQuota.rate * (part.to - part.from).Seconds())
		t.add(finding{
			what: part.what, measured: fmt.Sprintf("%.2fx, worst key %.2fx", with.all, with.worst),
			target: fmt.Sprintf("<= 1.00x of limit + %d x burst", part.bursts), reached: with.all > 0 && with.worst <= 1,
			beside: fmt.Sprintf("of the limit since the start %.2fx; of the rate %.2fx in these %s", strict.all, passed, part.to-part.from),
		})
	}
}

// passedBetween returns how many requests that were due in a time were allowed.
func passedBetween(arrivals []arrival, outcomes []outcome, from, to time.Duration) (n float64) {
	for i := range arrivals {
		if arrivals[i].at >= from && arrivals[i].at < to && outcomes[i].status == http.StatusOK {
			n++
		}
	}
	return n
}

// path compares what a request costs with that of the same limit on one node.
func (c *cluster) path(ctx context.Context, b *bench) error {
	rounds := 200
	if b.short {
		rounds = 60
	}
	node := c.nodes[0]
	at := []int{siteClustered, siteLocal, siteLocalTwin}
	loads := make([]*load, len(at))
	for i, site := range at {
		loads[i] = &load{
			addr: node.addrs[site], clients: 16, requests: 16 * sliceRequests,
			make: func(_ int64, r *request) { r.path = "/" },
			check: func(_ int64, head *responseHead) error {
				if head.status != http.StatusOK {
					return fmt.Errorf("status %d", head.status)
				}
				return nil
			},
		}
	}
	all, err := paired(ctx, node.process, loads, rounds)
	if err != nil {
		return err
	}
	clustered, local, twin := all[0], all[1], all[2]
	b.table.addSharedCost("CPU per request", clustered.cpu, local.cpu, twin.cpu)
	b.table.addSharedCost("latency", clustered.clock, local.clock, twin.clock)
	return nil
}

// addSharedCost judges what a request of a shared limit takes.
func (t *table) addSharedCost(what string, shared, local, twin sample) {
	ratio := shared.over(local)
	t.add(finding{
		what: what, measured: ratio.precise(),
		target: fmt.Sprintf("<= %.2fx of local", mostSharedCost), reached: ratio.median() <= mostSharedCost,
		beside: fmt.Sprintf("%.1f us, local %.1f us; local against itself %s", shared.median()*1e6, local.median()*1e6, twin.over(local).precise()),
	})
}
