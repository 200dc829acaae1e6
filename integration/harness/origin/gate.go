package origin

import (
	"context"
	"sync"
)

// Gate holds replies until a test lets them pass. A new gate is closed. The
// methods may be called from any goroutine.
type Gate struct {
	mu     sync.Mutex
	open   bool
	passes int
	change chan struct{}
}

// NewGate returns a closed gate.
func NewGate() *Gate { return &Gate{change: make(chan struct{})} }

// Open lets everybody pass, now and later.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	g.signalLocked()
}

// Step lets n waiters pass, those that wait already or the next ones to come.
func (g *Gate) Step(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.passes += n
	g.signalLocked()
}

// Wait blocks until the gate lets the caller pass or ctx ends; the error is
// that of ctx. A nil gate is always open.
func (g *Gate) Wait(ctx context.Context) error {
	if g == nil {
		return ctx.Err()
	}
	for {
		change, passed := g.tryPass()
		if passed {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryPass takes a pass when there is one, else it returns a channel that is
// closed at the next change.
func (g *Gate) tryPass() (<-chan struct{}, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open {
		return nil, true
	}
	if g.passes > 0 {
		g.passes--
		return nil, true
	}
	return g.change, false
}

func (g *Gate) signalLocked() {
	close(g.change)
	g.change = make(chan struct{})
}
