package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// The stream of purges while hits go on.
const (
	streamRate    = 1000 // purges per second, each a request of its own
	streamClients = 4
	streamHot     = 1000 // objects that are hit
	mostCost      = 1.05
	mostGrowth    = 32 << 20
	// sampled is how many purges go by between two that are checked.
	sampled = 50
)

// streamResult is what a stream of purges came to.
type streamResult struct {
	purges  int64
	checked int64
	served  int64 // purged objects that were served
}

func (r *streamResult) add(o streamResult) {
	r.purges += o.purges
	r.checked += o.checked
	r.served += o.served
}

// step is what a client of the stream does for the time with a number.
type step func(ctx context.Context, c *client, n int64, got *streamResult) error

// reportStream compares hits beside a stream of tag purges with hits beside as
// many requests to the admin endpoint that purge nothing: what an admin request
// costs is Caddy's.
func (s *purgeStore) reportStream(ctx context.Context, b *bench) error {
	length, rounds := 5*time.Second, 12
	if b.short {
		length, rounds = 2*time.Second, 5
	}
	before, err := s.admin.liveHeap(ctx)
	if err != nil {
		return err
	}
	var (
		costs [3]sample
		sum   streamResult
	)
	for range rounds {
		for i, stream := range []step{nil, s.callOnly, s.purgeSome} {
			var got streamResult
			cost, err := s.hits(ctx, length, stream, &got)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], cost)
			sum.add(got)
		}
	}
	after, err := s.admin.liveHeap(ctx)
	if err != nil {
		return err
	}
	alone, calls, purges := costs[0], costs[1], costs[2]
	ratio, rate := purges.over(calls), float64(sum.purges)/(length.Seconds()*float64(rounds))
	b.table.add(finding{
		what: "hit beside tag purges", measured: ratio.ratio(),
		target: fmt.Sprintf("<= %.2fx without purging", mostCost), reached: ratio.median() <= mostCost,
		beside: fmt.Sprintf("%.0f purges/s; without admin requests %.2fx", rate, alone.over(calls).median()),
	})
	b.table.add(finding{
		what: "purged and served", measured: fmt.Sprintf("%d of %d", sum.served, sum.checked),
		target: "none", reached: sum.served == 0 && sum.checked > 0, beside: fmt.Sprintf("%d purges", sum.purges),
	})
	b.table.add(finding{
		what: "heap after the stream", measured: "grew by " + mebibytes(after-before),
		target: "bounded: <= " + mebibytes(mostGrowth), reached: after-before <= mostGrowth,
	})
	return nil
}

// hits returns the processor time per hit, with or without a stream beside.
func (s *purgeStore) hits(ctx context.Context, length time.Duration, stream step, got *streamResult) (float64, error) {
	l := load{
		addr: s.cache, clients: fillClients, length: length, limit: length + time.Minute,
		make: func(i int64, r *request) { s.request(hotObject(i), r) },
		check: func(_ int64, head *responseHead) error {
			if !isHit(head.cacheStatus) {
				return fmt.Errorf("not a hit: %s", head.cacheStatus)
			}
			return nil
		},
	}
	streamed := make(chan error, 1)
	go func() { streamed <- s.stream(ctx, length, stream, got) }()
	cost, err := cpuPerRequest(ctx, s.process, &l)
	return cost, errors.Join(err, <-streamed)
}

// hotObject returns an object that no purge of the stream hits: those are for the
// first half of the tags.
func hotObject(i int64) int64 {
	const half = purgeTags / 2
	i %= streamHot
	return i/half*purgeTags + half + i%half
}

// stream does steps at an even rate, with several clients at once.
func (s *purgeStore) stream(ctx context.Context, length time.Duration, do step, sum *streamResult) error {
	if do == nil {
		return nil
	}
	var (
		results [streamClients]streamResult
		errs    [streamClients]error
		wg      sync.WaitGroup
	)
	for i := range int64(streamClients) {
		wg.Go(func() { errs[i] = s.streamOne(ctx, length, i, do, &results[i]) })
	}
	wg.Wait()
	for _, r := range results {
		sum.add(r)
	}
	return errors.Join(errs[:]...)
}

// streamOne is one client of the stream. The numbers of its steps are its own.
func (s *purgeStore) streamOne(ctx context.Context, length time.Duration, i int64, do step, got *streamResult) error {
	c, err := dial(ctx, s.cache, time.Now().Add(length+time.Minute))
	if err != nil {
		return err
	}
	defer c.close()
	start := time.Now()
	for n := int64(0); time.Since(start) < length && ctx.Err() == nil; {
		if err := do(ctx, c, n*streamClients+i, got); err != nil {
			return err
		}
		n++
		time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second * streamClients / streamRate)))
	}
	return ctx.Err()
}

// callOnly sends a request of the same form as a purge to the cheapest route of
// the admin endpoint.
func (s *purgeStore) callOnly(ctx context.Context, _ *client, n int64, _ *streamResult) error {
	_, err := s.admin.call(ctx, "/debug/pprof/cmdline", unusedTag(n))
	return err
}

// purgeSome purges a tag. None is that of the objects that are hit, but some have
// an object, which must not be served again.
func (s *purgeStore) purgeSome(ctx context.Context, c *client, n int64, got *streamResult) error {
	got.purges++
	// The clients take turns, so that each of them has objects of its own.
	if turn := n / streamClients; turn%sampled == 0 {
		return s.purgeAndCheck(ctx, c, turn/sampled*streamClients+n%streamClients, got)
	}
	_, err := s.admin.purge(ctx, unusedTag(n))
	return err
}

func unusedTag(n int64) map[string]any {
	return map[string]any{"tag": "unused" + strconv.FormatInt(n, 10)}
}

// purgeAndCheck purges the tag of an object that is in the store.
func (s *purgeStore) purgeAndCheck(ctx context.Context, c *client, n int64, got *streamResult) error {
	i := n % (purgeTags / 2)
	stored, err := s.hit(c, i)
	if err == nil && !stored {
		stored, err = s.hit(c, i)
	}
	if err != nil {
		return err
	}
	if !stored {
		return fmt.Errorf("object %d is not in the store", i)
	}
	if _, err := s.admin.purge(ctx, map[string]any{"tag": purgeTag(i)}); err != nil {
		return err
	}
	served, err := s.hit(c, i)
	got.checked++
	if served {
		got.served++
	}
	return err
}
