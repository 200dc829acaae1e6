package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// The download of the row joiner, and when the second client comes and the first
// one leaves.
const (
	joinSize  = 20 << 20
	joinPace  = 2 * time.Second
	joinAt    = 500 * time.Millisecond
	joinLeave = time.Second
	joinTTFB  = 5 * time.Millisecond
)

func runJoiner(ctx context.Context, b *bench) error {
	r, err := b.startRivals(ctx, edgeOptions{})
	if err != nil {
		return err
	}
	defer r.close()
	ours, err := joinRounds(ctx, b, proxy{r.edge.process, r.edge.cache})
	if err != nil {
		return err
	}
	var beside []string
	for _, p := range r.peers {
		got, err := joinRounds(ctx, b, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		beside = append(beside, p.name+" "+got.String())
	}
	b.table.add(finding{
		what: "TTFB, fetches, body", measured: ours.String(), target: fmt.Sprintf("<= %s, 1, whole", seconds(joinTTFB)),
		reached: ours.ttfb.median() <= joinTTFB.Seconds() && ours.fetches == 1 && ours.whole,
		beside:  strings.Join(beside, ", "),
	})
	return nil
}

// joined is what the second client saw: the worst of all rounds, but all times.
type joined struct {
	ttfb    sample
	fetches int64
	whole   bool
}

// String prints the figures in the order of the target.
func (j joined) String() string {
	body := "broken"
	if j.whole {
		body = "whole"
	}
	return fmt.Sprintf("%s, %d, %s", j.ttfb.millis(), j.fetches, body)
}

func joinRounds(ctx context.Context, b *bench, p proxy) (joined, error) {
	rounds := 5
	if b.short {
		rounds = 3
	}
	all := joined{whole: true}
	for range rounds {
		if err := all.round(ctx, b, p); err != nil {
			return all, err
		}
	}
	return all, nil
}

// round is one download.
func (j *joined) round(ctx context.Context, b *bench, p proxy) error {
	path, fetches := b.origin.page(reply{fields: cacheable, size: joinSize, pace: joinPace})
	start := time.Now()
	first, err := dial(ctx, p.addr, start.Add(joinLeave))
	if err != nil {
		return err
	}
	defer first.close()
	left := make(chan struct{})
	go func() {
		defer close(left)
		// It ends with an error, at its deadline.
		_, _ = first.get(&request{path: path}, nil)
		first.close()
	}()
	second, err := dial(ctx, p.addr, start.Add(time.Minute))
	if err != nil {
		return err
	}
	defer second.close()
	time.Sleep(time.Until(start.Add(joinAt)))
	asked := time.Now()
	got, err := second.get(&request{path: path}, nil)
	<-left
	j.ttfb = append(j.ttfb, got.first.Sub(asked).Seconds())
	j.fetches = max(j.fetches, fetches.Load())
	// An error here is the cache's, and a finding.
	j.whole = j.whole && err == nil && got.length == joinSize && got.sum == checksum(joinSize)
	return nil
}
