package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// mostReturn is the time until an agent is back.
const mostReturn = time.Second

// runTunnelRestart ends the edge again and again, and tells how soon the agent is back.
func runTunnelRestart(ctx context.Context, b *bench) error {
	rounds := 10
	if b.short {
		rounds = 5
	}
	path, _ := b.origin.page(reply{fields: plain, size: 1 << 10})
	t, err := b.newTunnel(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.start(ctx, b, t.site(appBackend, "")); err != nil {
		return err
	}
	if _, err := t.startAgent(ctx, agentOptions{name: "a1", to: b.origin.addr}); err != nil {
		return err
	}
	var back, away sample
	for i := range rounds {
		ended := time.Now()
		if i%2 == 0 {
			t.stop()
		} else {
			t.kill()
		}
		// It is away for a moment, or for long enough that the agent waits its longest.
		if !sleepUntil(ctx, ended.Add(time.Duration(i)*time.Second/2)) {
			return ctx.Err()
		}
		if err := t.startAgain(); err != nil {
			return err
		}
		up, err := t.awaitListener(ctx)
		if err != nil {
			return err
		}
		took, err := t.firstAnswer(ctx, path, up)
		if err != nil {
			return err
		}
		back, away = append(back, took.Seconds()), append(away, up.Sub(ended).Seconds())
	}
	b.table.add(finding{
		what: "agent back", measured: back.millis(), target: fmt.Sprintf("<= %s in the middle", mostReturn),
		reached: back.median() <= mostReturn.Seconds(),
		beside: fmt.Sprintf("from when the edge listens to the first answer of the backend; %d restarts, %s and %s in turn; away for %.1f s (%.1f-%.1f)",
			rounds, syscall.SIGTERM, syscall.SIGKILL, away.median(), away.min(), away.max()),
	})
	return nil
}

// awaitListener returns the moment since which the first site listens.
func (t *tunnel) awaitListener(ctx context.Context) (time.Time, error) {
	const often = time.Millisecond
	for start := time.Now(); !accepts(ctx, t.addrs[0]); {
		if time.Since(start) > startLimit || !sleepUntil(ctx, time.Now().Add(often)) {
			return time.Time{}, t.failure(fmt.Errorf("it does not listen"))
		}
	}
	return time.Now(), nil
}

// firstAnswer asks until the backend answers, and returns how long after a moment it did.
// A request waits for an agent by itself.
func (t *tunnel) firstAnswer(ctx context.Context, path string, since time.Time) (time.Duration, error) {
	for {
		err := t.ask(ctx, path)
		took := time.Since(since)
		if err == nil {
			return took, nil
		}
		if took > startLimit || ctx.Err() != nil {
			return 0, fmt.Errorf("the agent does not come back: %w", err)
		}
		sleepUntil(ctx, time.Now().Add(pollPause))
	}
}

// ask gets a page of 1 KiB over a connection of its own.
func (t *tunnel) ask(ctx context.Context, path string) error {
	conns, err := t.connect(ctx, 0, 1, startLimit)
	if err != nil {
		return err
	}
	defer closeAll(conns)
	head, err := conns[0].skim(&request{host: "localhost", path: path})
	if err != nil {
		return err
	}
	return wholly(1<<10)(0, head)
}
