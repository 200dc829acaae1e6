package edgebreaker

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Limits of resolving.
const (
	resolveAtLoad = 10 * time.Second // all names of a proxy
	resolveAtRun  = 2 * time.Second  // one name
	verdictFor    = 30 * time.Second // how long what was found holds
	failureFor    = 5 * time.Second  // how long it holds that nothing was found
	staleFor      = 30 * time.Second // how much longer it is used, while the name is looked up again
	mostVerdicts  = 1024
	mostLookups   = 64 // at a time, of one proxy
)

// verdict is what is known of an address.
type verdict struct {
	pinned string
	named  bool // a name was resolved
	err    error
	until  time.Time // zero: for as long as the config runs
}

func (v *verdict) holds(now time.Time) bool { return v.until.IsZero() || now.Before(v.until) }

// lookup is that of a name, once for all who wait for it, and on a goroutine of its own:
// that the client who came first leaves must change nothing. Its verdict is there when
// done is closed.
type lookup struct {
	done    chan struct{}
	verdict verdict
}

// close ends the lookups and waits for them.
func (g *guard) close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.end() // under the lock: none begins after it
	g.mu.Unlock()
	g.running.Wait()
}

// allow reports whether an address may be dialled, and what is dialled in its place
// if that is another one. It waits for the resolver when nothing is known of a name,
// or nothing recent.
func (g *guard) allow(ctx context.Context, address string) (pinned string, ok bool) {
	if g == nil {
		return "", true
	}
	now := time.Now()
	g.mu.Lock()
	v, known := g.known[address]
	g.mu.Unlock()
	if !known || !v.holds(now) {
		v = g.renew(ctx, address, now)
	}
	if v.err != nil && ctx.Err() == nil {
		g.tell(address, v.err, now)
	}
	return v.pinned, v.err == nil
}

// Why nothing is known of a name.
var (
	errTooManyLookups = errors.New("too many names are being resolved")
	errEnded          = errors.New("the configuration has ended")
)

// renew finds out about an address of which nothing is known that holds.
func (g *guard) renew(ctx context.Context, address string, now time.Time) verdict {
	if v, host, _ := g.read(address); host == "" {
		return g.keep(address, v, verdictFor)
	}
	g.mu.Lock()
	v, known := g.known[address]
	if known && v.holds(now) { // since a moment ago
		g.mu.Unlock()
		return v
	}
	l, err := g.begin(address)
	g.mu.Unlock()
	switch {
	case known && now.Before(v.until.Add(staleFor)):
		return v
	case err != nil:
		return verdict{err: err}
	}
	select {
	case <-l.done:
		return l.verdict
	case <-ctx.Done():
		return verdict{err: context.Cause(ctx)}
	}
}

// begin looks a name up, unless that is under way. The caller holds the lock.
func (g *guard) begin(address string) (*lookup, error) {
	l := g.lookups[address]
	switch {
	case l != nil:
		return l, nil
	case g.ctx.Err() != nil:
		return nil, errEnded
	case len(g.lookups) >= mostLookups:
		return nil, errTooManyLookups
	}
	l = &lookup{done: make(chan struct{})}
	address = strings.Clone(address)
	g.lookups[address] = l
	g.running.Go(func() { g.look(address, l) })
	return l, nil
}

// look looks a name up, for all who wait.
func (g *guard) look(address string, l *lookup) {
	ctx, cancel := context.WithTimeout(g.ctx, resolveAtRun)
	defer cancel()
	v, hold := g.check(ctx, address), verdictFor
	g.mu.Lock()
	defer g.mu.Unlock()
	if isType[*net.DNSError](v.err) {
		hold = failureFor
		if before, ok := g.known[address]; ok && before.err == nil {
			v = before // a resolver that fails for a while takes no backend out
		}
	}
	g.put(address, &v, hold)
	l.verdict = v
	delete(g.lookups, address)
	close(l.done)
}

// keep remembers a verdict for a while, 0: for as long as the config runs.
func (g *guard) keep(address string, v verdict, hold time.Duration) verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.put(strings.Clone(address), &v, hold)
	return v
}

// put is keep with the lock held.
func (g *guard) put(address string, v *verdict, hold time.Duration) {
	v.until = time.Time{}
	if hold > 0 {
		v.until = time.Now().Add(hold)
	}
	if _, known := g.known[address]; !known && len(g.known) >= mostVerdicts {
		g.makeRoom()
	}
	g.known[address] = *v
}

// makeRoom forgets one of those that do not stay. The first that a map gives is as good
// as any.
func (g *guard) makeRoom() {
	for address, v := range g.known {
		if !v.until.IsZero() {
			delete(g.known, address)
			return
		}
	}
}

// tell logs a refusal, now and then.
func (g *guard) tell(address string, err error, now time.Time) {
	last := g.notice.Load()
	if now.UnixNano()-last < int64(refusalNotice) || !g.notice.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	denied, ok := errors.AsType[*deniedError](err)
	if !ok {
		g.logger.Warn("the address guard refuses an upstream", zap.String("upstream", address), zap.Error(err))
		return
	}
	resolved := ""
	if denied.address.IsValid() {
		resolved = denied.address.String()
	}
	g.logger.Warn("the address guard refuses an upstream", zap.String("upstream", address), zap.String("address", resolved), zap.String("kind", denied.kind.String()))
}
