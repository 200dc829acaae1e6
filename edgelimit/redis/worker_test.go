package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
	"github.com/caddyedge/caddy-edge/edgelimit/lease/leasetest"
)

// fakeServer is a server in the bubble of a test.
type fakeServer struct {
	mu      sync.Mutex // guards all below
	delay   time.Duration
	err     error // of all
	beats   int
	alive   int
	rounds  []time.Duration // since start
	began   time.Time
	buckets map[string]*leasetest.Bucket
	left    bool
	closed  bool
}

// behave sets what the server does from now on.
func (f *fakeServer) behave(delay time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay, f.err = delay, err
}

// received returns the times of the rounds and the number of heartbeats.
func (f *fakeServer) received() ([]time.Duration, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rounds), f.beats
}

func (f *fakeServer) wait(ctx context.Context) error {
	f.mu.Lock()
	delay, err := f.delay, f.err
	f.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(delay):
		return err
	}
}

func (f *fakeServer) beat(ctx context.Context, _ string, _ time.Duration) (int, error) {
	f.mu.Lock()
	f.beats++
	alive := f.alive
	f.mu.Unlock()
	return alive, f.wait(ctx)
}

func (f *fakeServer) exchange(ctx context.Context, calls []call) error {
	f.mu.Lock()
	f.rounds = append(f.rounds, time.Since(f.began))
	f.mu.Unlock()
	if err := f.wait(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range calls {
		c := &calls[i]
		key := c.zone.key(c.ask.Key)
		if f.buckets[key] == nil {
			f.buckets[key] = new(leasetest.Bucket)
		}
		c.answer = f.buckets[key].Exchange(c.zone.id.limit, c.ask, time.Now())
	}
	return nil
}

func (f *fakeServer) leave(context.Context, string) error  { f.left = true; return nil }
func (f *fakeServer) forget(context.Context, string) error { return nil }
func (f *fakeServer) close()                               { f.closed = true }

// bubble runs a test with a node on a fake server in fake time.
func bubble(t *testing.T, change func(*Config), test func(t *testing.T, n *Node, f *fakeServer)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Addresses: []string{"127.0.0.1:1"}}
		change(&cfg)
		cfg, err := cfg.withDefaults()
		require.NoError(t, err)
		f := &fakeServer{delay: time.Millisecond, alive: 2, began: time.Now(), buckets: make(map[string]*leasetest.Bucket)}
		n := start(cfg, func(context.Context) (server, error) { return f, nil })
		defer n.Close()
		test(t, n, f)
	})
}

func unchanged(*Config) {}

// pass lets time go by and the node do what falls into it.
func pass(d time.Duration) {
	time.Sleep(d) // in a bubble: fake time
	synctest.Wait()
}

func TestPaceOfRounds(t *testing.T) {
	bubble(t, unchanged, func(t *testing.T, n *Node, f *fakeServer) {
		pass(100 * time.Second)
		rounds, beats := f.received()
		require.InDelta(t, 1000, len(rounds), 60)
		require.InDelta(t, 95, beats, 6, "a heartbeat a second")
		for i := 1; i < len(rounds); i++ {
			require.InDelta(t, 100, (rounds[i] - rounds[i-1]).Milliseconds(), 55, "half to one and a half of the interval")
		}
		require.Equal(t, 2, n.Nodes())
		require.InDelta(t, len(rounds), n.Stats().Rounds, 1, "one may be under way")
		require.InDelta(t, time.Millisecond, n.Stats().RoundTrip, float64(time.Millisecond))
		n.Close()
		require.True(t, f.left)
		require.True(t, f.closed)
	})
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 7: 2 * time.Second, 1e9: 2 * time.Second,
	} {
		require.Equal(t, want, backoff(100*time.Millisecond, failures, 0.5), "%d failures", failures)
		require.Equal(t, want/2, backoff(100*time.Millisecond, failures, 0), "%d failures", failures)
	}
	require.Equal(t, 2*time.Second, backoff(10*time.Second, 1, 0.5), "a long interval is no reason to come back late")
}

func TestSlowServerCountsAsLost(t *testing.T) {
	bubble(t, func(c *Config) { c.OnError = Closed }, func(t *testing.T, n *Node, f *fakeServer) {
		z, err := n.Zone("zone", frozen)
		require.NoError(t, err)
		defer z.Close()
		require.False(t, z.Take([]byte("client"), 1, time.Now()).Known, "before the first attempt the share decides")
		pass(time.Second)
		require.True(t, n.Stats().Connected)
		require.False(t, z.Take([]byte("client"), 1, time.Now()).Known)
		require.Equal(t, 1, n.Stats().Keys)

		var told []string
		stop := n.Watch(func(connected bool, err error) { told = append(told, fmt.Sprint(connected, " ", err)) })
		f.behave(time.Minute, nil)
		pass(2 * time.Second)
		st := n.Stats()
		require.False(t, st.Connected)
		require.Contains(t, st.LastError, "no answer within 500ms")
		require.Equal(t, 2, st.Nodes, "as last known")
		v := z.Take([]byte("client"), 1, time.Now())
		require.True(t, v.Known)
		require.False(t, v.Allowed)

		f.behave(time.Millisecond, nil)
		pass(10 * time.Second)
		require.True(t, n.Stats().Connected)
		require.Zero(t, n.Stats().Keys, "what was before the loss does not count")
		require.Len(t, told, 3)
		require.Equal(t, "true <nil>", told[0])
		require.Contains(t, told[1], "false ")
		require.Equal(t, "true <nil>", told[2])

		stop()
		f.behave(0, errors.New("broken"))
		pass(10 * time.Second)
		require.False(t, n.Stats().Connected)
		require.Len(t, told, 3, "nobody watches any more")
		require.Less(t, n.Stats().Errors, int64(20), "it does not hammer a lost server")
	})
}

// TestReunion: nodes that have not yet come back after a loss are not taken for
// dead at once.
func TestReunion(t *testing.T) {
	bubble(t, unchanged, func(t *testing.T, n *Node, f *fakeServer) {
		alive := func(n int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.alive = n
		}
		alive(3)
		pass(2 * time.Second)
		require.Equal(t, 3, n.Nodes())
		f.behave(0, errors.New("broken"))
		pass(10 * time.Second)
		require.Equal(t, 3, n.Nodes())
		alive(1)
		f.behave(0, nil)
		pass(3 * time.Second)
		require.True(t, n.Stats().Connected)
		require.Equal(t, 3, n.Nodes())
		pass(6 * time.Second)
		require.Equal(t, 1, n.Nodes())
		alive(2)
		pass(2 * time.Second)
		alive(1)
		pass(2 * time.Second)
		require.Equal(t, 1, n.Nodes(), "without a loss a node that left is missed at once")
	})
}

// TestCloseWhileTheServerIsSlow: the round under way is cut off.
func TestCloseWhileTheServerIsSlow(t *testing.T) {
	bubble(t, func(c *Config) { c.Timeout = time.Minute }, func(t *testing.T, n *Node, f *fakeServer) {
		pass(time.Second)
		f.behave(time.Hour, nil)
		pass(time.Second)
		began := time.Now()
		n.Close()
		require.LessOrEqual(t, time.Since(began), time.Minute)
		require.Zero(t, n.Stats().Errors, "the end is no error")
	})
}

// TestTokensAreTracked: the counters agree with one another and the server.
func TestTokensAreTracked(t *testing.T) {
	bubble(t, unchanged, func(t *testing.T, n *Node, f *fakeServer) {
		z, err := n.Zone("zone", frozen)
		require.NoError(t, err)
		pass(time.Second)
		spent := int64(0)
		var most Stats // the pauses vary, so that a lease may be used up at any moment
		for range 30 {
			for range 7 {
				if v := z.Take([]byte("client"), 1, time.Now()); v.Allowed || !v.Known {
					spent++
				}
			}
			pass(50 * time.Millisecond)
			st := n.Stats()
			most.Leases, most.Tokens = max(most.Leases, st.Leases), max(most.Tokens, st.Tokens)
		}
		require.Equal(t, int64(210), spent)
		st := n.Stats()
		require.Equal(t, 1, st.Keys)
		require.Positive(t, most.Leases)
		require.Positive(t, most.Tokens)
		pass(10 * time.Second)
		st = n.Stats()
		require.Zero(t, st.Tokens, "an idle client holds nothing")
		require.Equal(t, spent, st.Granted-st.Returned+st.Charged, "all that was spent is charged, and nothing else")
		z.Close()
		pass(time.Second)
		require.Zero(t, n.Stats().Zones)
		n.Close()
		require.Len(t, f.buckets, 1)
	})
}

func TestTakeDoesNotAllocate(t *testing.T) {
	bubble(t, unchanged, func(t *testing.T, n *Node, _ *fakeServer) {
		z, err := n.Zone("zone", lease.Limit{Rate: 1e6, Burst: 1e6})
		require.NoError(t, err)
		defer z.Close()
		pass(time.Second)
		client, now := []byte("192.0.2.1"), time.Now()
		z.Take(client, 1, now)
		require.Zero(t, testing.AllocsPerRun(100, func() { z.Take(client, 1, now) }))
	})
}
