package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// killed is how many requests of each method are under way when an agent dies.
const killed = 40

// roundRobin has the agents take turns.
const roundRobin = "\t\tlb_policy round_robin\n\t\tlb_try_duration 10s\n"

// runTunnelKill has one of two agents die while requests are at its backend, and while
// they wait for it.
func runTunnelKill(ctx context.Context, b *bench) error {
	rounds := 5
	if b.short {
		rounds = 2
	}
	waiting := func(method string) func(context.Context, *bench) (losses, error) {
		return func(ctx context.Context, b *bench) (losses, error) { return lossWaiting(ctx, b, method) }
	}
	kinds := []struct {
		what, method string
		run          func(context.Context, *bench) (losses, error)
		l            losses
	}{
		{what: "held by backends", method: "POST", run: lossHeld},
		{what: "not accepted yet", method: "POST", run: waiting(http.MethodPost)},
		{what: "the same, no body", method: "DELETE", run: waiting(http.MethodDelete)},
	}
	for range rounds {
		for i := range kinds {
			got, err := kinds[i].run(ctx, b)
			if err != nil {
				return err
			}
			kinds[i].l.add(got)
		}
	}
	for _, f := range kinds {
		b.table.add(finding{
			what: f.what, measured: fmt.Sprintf("%d of %d GETs, %d twice", f.l.getsFailed, f.l.gets, f.l.twice), target: "none fails, none twice",
			reached: f.l.right(), beside: fmt.Sprintf("%d %ss: %d served, %d of %d not accepted among them; %d lost, %d of them with 502; %d times SIGKILL; slowest %s",
				f.l.posts, f.method, f.l.served, f.l.retried, f.l.unaccepted, f.l.posts-f.l.served, f.l.refused, rounds, seconds(f.l.slowest)),
		})
	}
	return nil
}

// losses are what became of requests when their agent died.
type losses struct {
	gets, getsFailed int
	posts, served    int // of POST, or of another method that may not be repeated
	refused          int // with 502
	unaccepted       int // POSTs that no backend had accepted
	retried          int // those of them that were served
	twice            int // POSTs executed more than once
	wrong            int // POSTs told otherwise than they were executed
	slowest          time.Duration
}

func (l *losses) add(o losses) {
	l.gets, l.getsFailed, l.posts, l.served = l.gets+o.gets, l.getsFailed+o.getsFailed, l.posts+o.posts, l.served+o.served
	l.refused, l.unaccepted, l.retried = l.refused+o.refused, l.unaccepted+o.unaccepted, l.retried+o.retried
	l.twice, l.wrong, l.slowest = l.twice+o.twice, l.wrong+o.wrong, max(l.slowest, o.slowest)
}

// right reports whether all went as it must.
func (l *losses) right() bool {
	return l.gets > 0 && l.getsFailed == 0 && l.twice == 0 && l.wrong == 0 && l.retried == l.unaccepted && l.served+l.refused == l.posts
}

// note takes the answers, of requests that the agent who died had brought to a backend or
// not.
func (l *losses) note(answers []answer, books *ledger, accepted bool) {
	for i := range answers {
		a := &answers[i]
		l.slowest = max(l.slowest, a.took)
		if a.method == http.MethodGet {
			l.gets++
			if !a.ok() {
				l.getsFailed++
			}
			continue
		}
		n := books.executed(a.id)
		l.posts++
		if !accepted {
			l.unaccepted++
		}
		switch {
		case a.ok():
			l.served++
			if !accepted {
				l.retried++
			}
		case a.status == http.StatusBadGateway:
			l.refused++
		}
		if n > 1 {
			l.twice++
		}
		if n == 0 || !accepted && !a.ok() {
			l.wrong++
		}
	}
}

// lossHeld kills an agent while the backends of both hold requests.
func lossHeld(ctx context.Context, b *bench) (l losses, err error) {
	p, err := b.startPair(ctx, 0)
	if err != nil {
		return l, err
	}
	defer p.close()
	volley := p.caller.volley(ctx, holdPath, killed, http.MethodGet, http.MethodPost)
	if err := awaitHeld(ctx, 2*killed, p.holders...); err != nil {
		return l, err
	}
	if p.holders[0].held.Load() == 0 {
		return l, errors.New("the agent that is to be killed has no request")
	}
	p.agents[0].kill()
	// Those of the agent that died leave its backend; its GETs come to the other one.
	if err := awaitHeld(ctx, 0, p.holders[0]); err != nil {
		return l, err
	}
	if !sleepUntil(ctx, time.Now().Add(time.Second)) {
		return l, ctx.Err()
	}
	p.letGo()
	l.note(<-volley, p.holders[0].ledger, true)
	return l, nil
}

// lossWaiting kills an agent that can't connect to its backend, while requests wait for
// that.
func lossWaiting(ctx context.Context, b *bench, method string) (l losses, err error) {
	var open []io.Closer
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	full, err := fullListener(ctx, &open)
	if err != nil {
		return l, err
	}
	holders, err := startHolders(1)
	if err != nil {
		return l, err
	}
	p, err := b.pairOf(ctx, holders, full, holders[0].addr)
	if err != nil {
		return l, err
	}
	defer p.close()
	volley := p.caller.volley(ctx, "/", killed, http.MethodGet, method)
	if !sleepUntil(ctx, time.Now().Add(time.Second)) {
		return l, ctx.Err()
	}
	kill := time.Now()
	p.agents[0].kill()
	answers := <-volley
	// Those that came to the other agent were served at once.
	var late []answer
	for _, a := range answers {
		if a.start.Add(a.took).After(kill) || !a.ok() {
			late = append(late, a)
		}
	}
	if len(late) == 0 {
		return l, errors.New("no request waited for the agent that was killed")
	}
	l.note(late, holders[0].ledger, false)
	return l, nil
}
