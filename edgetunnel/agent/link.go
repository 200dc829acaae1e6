package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// link keeps an agent connected to one edge.
type link struct {
	agent    *Agent
	edge     *url.URL
	instance string // each link has its own, so that two to the same edge are told apart
	log      *zap.Logger

	mu   sync.Mutex
	main *mux.Session
	away time.Duration // how long the edge wants the agent to stay away
	bye  string        // why the edge ends the session
}

func newLink(a *Agent, edge *url.URL) *link {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return &link{agent: a, edge: edge, instance: hex.EncodeToString(b[:]), log: a.config.Log.With(zap.String("edge", edge.Redacted()))}
}

func (l *link) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.main != nil
}

// drain tells the edge that no more requests are taken, and returns the session, if there is
// one.
func (l *link) drain() *mux.Session {
	l.tell(wire.Message{Drain: true})
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.main
}

// tell sends a message to the edge, if there is a session.
func (l *link) tell(m wire.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.main != nil {
		_ = l.main.SendControl(m.Encode()) // the session may have ended
	}
}

// run connects again and again until ctx ends.
func (l *link) run(ctx context.Context) {
	var b backoff
	var said string // the last error that was logged
	var saidAt time.Time
	for ctx.Err() == nil {
		s, err := l.connect(ctx, false)
		if err == nil {
			l.log.Info("connected to the edge")
			begin := time.Now()
			l.session(ctx, s)
			if ctx.Err() != nil || l.agent.draining.Load() {
				return
			}
			if time.Since(begin) > settled {
				b.reset() // others may end again at once
			}
			away, bye := l.farewell()
			if bye != "" {
				l.log.Info("the edge has ended the session", zap.String("reason", bye), zap.Duration("stay_away", away))
			} else {
				l.log.Warn("the session with the edge is lost", zap.Error(s.Err()))
			}
			b.least(away)
			said, saidAt = "", time.Time{}
		} else if ctx.Err() == nil {
			if said != err.Error() || time.Since(saidAt) > sayAgain {
				said, saidAt = err.Error(), time.Now()
				l.log.Error("can't connect to the edge; trying again", zap.Error(err))
			}
			b.least(waitOf(err))
		}
		if !sleep(ctx, b.next(time.Now())) {
			return
		}
	}
}

// sayAgain is after how long the same error is logged again.
const sayAgain = time.Minute

// farewell returns what the edge has said of the end, once.
func (l *link) farewell() (away time.Duration, bye string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	away, bye = l.away, l.bye
	l.away, l.bye = 0, ""
	return away, bye
}

// settled is how long a session has lasted when nothing is wrong with connecting.
const settled = 5 * time.Second

// loadInterval is how often the edge is told of the load, at most.
const loadInterval = time.Second

// session is the life of a session.
func (l *link) session(ctx context.Context, s *mux.Session) {
	changed, stop := l.agent.backends.watch()
	defer stop()
	l.mu.Lock()
	l.main = s
	l.mu.Unlock()
	var lanes sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	for range l.agent.config.DataConns {
		lanes.Go(func() { l.lane(ctx, s) })
	}
	defer func() {
		cancel()
		l.mu.Lock()
		l.main = nil
		l.mu.Unlock()
		s.Shutdown(time.Second)
		lanes.Wait()
	}()
	ticker := time.NewTicker(loadInterval)
	defer ticker.Stop()
	told := l.agent.backends.states()
	l.tell(wire.Message{Backends: told, Drain: l.agent.draining.Load()})
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
		if now := l.agent.backends.states(); !slices.Equal(now, told) {
			told = now
			l.tell(wire.Message{Backends: told})
		}
	}
}

// control takes a message of the edge's.
func (l *link) control(b []byte) {
	m, err := wire.ParseMessage(b)
	if err != nil {
		l.log.Warn("the edge sent a message that can't be read", zap.Error(err))
		return
	}
	if m.Bye != "" {
		const longest = 100
		l.mu.Lock()
		l.bye = m.Bye[:min(len(m.Bye), longest)]
		l.mu.Unlock()
	}
	if m.Drain {
		const most = 10 * time.Minute
		l.mu.Lock()
		l.away = min(time.Duration(m.Away)*time.Millisecond, most)
		l.mu.Unlock()
		l.log.Info("the edge drains the session")
	}
}

// laneInterval is how often a lane is made anew, at most.
const laneInterval = time.Second

// lane keeps one more connection as long as the session lasts.
func (l *link) lane(ctx context.Context, main *mux.Session) {
	select {
	case <-main.Ready(): // before, the edge may not know the session
	case <-main.Done():
		return
	case <-ctx.Done():
		return
	}
	var b backoff
	for ctx.Err() == nil {
		s, err := l.connect(ctx, true)
		if err == nil {
			b.reset()
			select {
			case <-s.Done():
			case <-main.Done():
			case <-ctx.Done():
			}
			s.Shutdown(time.Second)
		} else {
			l.log.Debug("can't open a data connection to the edge", zap.Error(err))
			b.least(waitOf(err))
		}
		select {
		case <-main.Done():
			return
		default:
		}
		if !sleep(ctx, max(laneInterval, b.next(time.Now()))) {
			return
		}
	}
}

// sleep reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Bounds of the backoff.
const (
	firstWait  = 50 * time.Millisecond
	soonWait   = time.Second      // the longest wait at first
	soon       = 30 * time.Second // how long that is
	latestWait = 15 * time.Second // the longest wait after that
)

// backoff is how long to wait between attempts. The zero value is ready.
type backoff struct {
	since time.Time // of the first failure
	wait  time.Duration
	floor time.Duration
}

func (b *backoff) reset() { *b = backoff{} }

// least has the next wait be as long, at least.
func (b *backoff) least(d time.Duration) { b.floor = d }

// next returns the time to wait, from half of what it may be to all of it.
func (b *backoff) next(now time.Time) time.Duration {
	if b.since.IsZero() {
		b.since = now
	}
	longest := soonWait
	if now.Sub(b.since) > soon {
		longest = latestWait
	}
	b.wait = min(max(2*b.wait, firstWait), longest)
	wait, floor := b.wait, b.floor
	b.floor = 0
	return floor + wait/2 + mathrand.N(wait/2+1) //nolint:gosec // no secret
}
