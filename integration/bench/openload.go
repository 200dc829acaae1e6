package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// openLoad sends each request at a moment of its own, whether or not earlier ones
// have been answered. What a load in a closed loop hides shows here: a slow server
// does not slow its clients down.
type openLoad struct {
	addrs []string
	// patience is how long a client waits for its whole response, connecting
	// included. Then it closes the connection.
	patience time.Duration
	// arrivals are in the order of their moments.
	arrivals []arrival
}

// arrival is one request that is to be sent.
type arrival struct {
	at     time.Duration // since the start of the load
	to     int           // index of the address
	client int           // who sends; counts for nothing here
	fields string        // as of a request
}

// outcome is what became of an arrival.
type outcome struct {
	status int   // 0: err tells why
	err    error // also when the client's patience ended
	late   time.Duration
	// latency is since the moment at which the request was due, so that what
	// makes the generator late is not hidden.
	latency time.Duration
}

// run returns the outcomes in the order of the arrivals. It returns an error only
// when it was told to stop.
func (l *openLoad) run(ctx context.Context) ([]outcome, error) {
	var (
		outcomes = make([]outcome, len(l.arrivals))
		pools    = make([]idleClients, len(l.addrs))
		wg       sync.WaitGroup
		start    = time.Now()
	)
	for i := range l.arrivals {
		a := &l.arrivals[i]
		due := start.Add(a.at)
		if !sleepUntil(ctx, due) {
			break
		}
		wg.Go(func() {
			o := &outcomes[i]
			o.late = time.Since(due)
			o.status, o.err = l.send(ctx, &pools[a.to], a)
			o.latency = time.Since(due)
		})
	}
	wg.Wait()
	for i := range pools {
		closeAll(pools[i].clients)
	}
	return outcomes, ctx.Err()
}

// sleepUntil reports false when the context ended before.
func sleepUntil(ctx context.Context, due time.Time) bool {
	d := time.Until(due)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send sends one request over an idle connection or a new one.
func (l *openLoad) send(ctx context.Context, pool *idleClients, a *arrival) (status int, err error) {
	deadline := time.Now().Add(l.patience)
	c := pool.take()
	if c == nil {
		if c, err = dial(ctx, l.addrs[a.to], deadline); err != nil {
			return 0, err
		}
	} else if err := c.conn.SetDeadline(deadline); err != nil {
		c.close()
		return 0, err
	}
	head, err := c.skim(&request{path: "/", fields: a.fields})
	if err != nil {
		c.close()
		return 0, fmt.Errorf("request at %s: %w", a.at, err)
	}
	status = head.status
	if head.last {
		c.close()
	} else {
		pool.put(c)
	}
	return status, nil
}

// idleClients are connections that nobody uses now.
type idleClients struct {
	mu      sync.Mutex
	clients []*client
}

// take returns the connection that was used last, nil when there is none.
func (p *idleClients) take() *client {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.clients) - 1
	if last < 0 {
		return nil
	}
	c := p.clients[last]
	p.clients = p.clients[:last]
	return c
}

// put makes a connection idle.
func (p *idleClients) put(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients = append(p.clients, c)
}
