package main

import (
	"context"
	"fmt"
	"time"
)

// pair is an edge with two agents that take turns, their backends, and who asks.
type pair struct {
	*tunnel
	agents  []*process
	holders []*holder // of the backends that hold requests
	caller  *caller
}

// startPair starts a pair whose backends take that long for each request.
func (b *bench) startPair(ctx context.Context, delay time.Duration) (*pair, error) {
	holders, err := startHolders(2)
	if err != nil {
		return nil, err
	}
	for _, h := range holders {
		h.delay = delay
	}
	return b.pairOf(ctx, holders, holders[0].addr, holders[1].addr)
}

// pairOf starts one with agents for those addresses. It closes the holders, too.
func (b *bench) pairOf(ctx context.Context, holders []*holder, to ...string) (*pair, error) {
	t, err := b.newTunnel(ctx)
	if err != nil {
		closeHolders(holders)
		return nil, err
	}
	p := &pair{tunnel: t, holders: holders}
	if err := t.start(ctx, b, t.site(appBackend, roundRobin)); err != nil {
		closeHolders(holders)
		return nil, err
	}
	p.caller = t.caller(0, time.Minute)
	for i, addr := range to {
		agent, err := t.startAgent(ctx, agentOptions{name: fmt.Sprintf("a%d", i), to: addr})
		if err != nil {
			p.close()
			return nil, err
		}
		p.agents = append(p.agents, agent)
	}
	return p, nil
}

// letGo lets the backends answer what they hold.
func (p *pair) letGo() {
	for _, h := range p.holders {
		h.letGo()
	}
}

func (p *pair) close() {
	p.caller.close()
	p.tunnel.close()
	closeHolders(p.holders)
}
