package redis

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
	"github.com/caddyedge/caddy-edge/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frozen is a limit that gives nothing new while a test runs: what is granted can
// be counted exactly.
var frozen = lease.Limit{Rate: 0.0001, Burst: 300}

// quick is a config for tests: short rounds, and time for a slow machine.
func quick(addr string) Config {
	return Config{Addresses: []string{addr}, Interval: 10 * time.Millisecond, Timeout: 5 * time.Second}
}

func newNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return n
}

func newTestZone(t *testing.T, n *Node, name string, l lease.Limit) *Zone {
	t.Helper()
	z, err := n.Zone(name, l)
	require.NoError(t, err)
	t.Cleanup(z.Close)
	return z
}

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, what)
}

// milliseconds is a reply that is a number.
func milliseconds(t *testing.T, reply []string) int {
	t.Helper()
	require.Len(t, reply, 1)
	n, err := strconv.Atoi(reply[0])
	require.NoError(t, err)
	return n
}

// freeAddress is an address where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func connected(n *Node) func() bool { return func() bool { return n.Stats().Connected } }

// client is what a handler does: it asks the zone, and a table of its own when
// the zone does not know. That table never gets anything new, like frozen.
type client struct {
	zone *Zone
	mu   sync.Mutex
	used map[string]int
}

func (c *client) request(name string) bool {
	v := c.zone.Take([]byte(name), 1, time.Now())
	if v.Known {
		return v.Allowed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used == nil {
		c.used = make(map[string]int)
	}
	if c.used[name] >= c.zone.Share().Burst {
		c.zone.Refund(v)
		return false
	}
	c.used[name]++
	return true
}

func TestNodesKnowOneAnother(t *testing.T) {
	s := redistest.Run(t)
	nodes := []*Node{newNode(t, quick(s.Addr())), newNode(t, quick(s.Addr())), newNode(t, quick(s.Addr()))}
	for _, n := range nodes {
		eventually(t, func() bool { return n.Nodes() == 3 }, "three nodes")
	}
	z := newTestZone(t, nodes[0], "zone", lease.Limit{Rate: 90, Burst: 100})
	require.Equal(t, lease.Limit{Rate: 30, Burst: 34}, z.Share())
	nodes[2].Close()
	for _, n := range nodes[:2] {
		eventually(t, func() bool { return n.Nodes() == 2 }, "one has left")
	}
	require.Equal(t, lease.Limit{Rate: 45, Burst: 50}, z.Share())

	other := quick(s.Addr())
	other.Prefix = "other:"
	n := newNode(t, other)
	eventually(t, connected(n), "connected")
	require.Equal(t, 1, n.Nodes(), "nodes with another prefix are not counted")
}

func TestDeadNodeIsDropped(t *testing.T) {
	s := redistest.Run(t)
	s.Ask("ZADD", "edge:limit:{nodes}", "1000", "dead")
	n := newNode(t, quick(s.Addr()))
	eventually(t, connected(n), "connected")
	require.Equal(t, 1, n.Nodes())
}

// TestWholeLimitAtOneNode: what the other nodes do not use is granted here, and
// nothing beyond it.
func TestWholeLimitAtOneNode(t *testing.T) {
	s := redistest.Run(t)
	a, b, c := newNode(t, quick(s.Addr())), newNode(t, quick(s.Addr())), newNode(t, quick(s.Addr()))
	for _, n := range []*Node{a, b, c} {
		eventually(t, func() bool { return n.Nodes() == 3 }, "three nodes")
	}
	one := &client{zone: newTestZone(t, a, "zone", frozen)}
	admitted := 0
	eventually(t, func() bool {
		for range 20 {
			if one.request("client") {
				admitted++
			}
		}
		return admitted >= frozen.Burst
	}, "the whole burst")
	// The bucket is empty: further rounds bring nothing.
	for rounds := a.Stats().Rounds; a.Stats().Rounds < rounds+10; time.Sleep(time.Millisecond) {
		if one.request("client") {
			admitted++
		}
	}
	require.Equal(t, frozen.Burst, admitted)
	v := one.zone.Take([]byte("client"), 1, time.Now())
	require.True(t, v.Known)
	require.False(t, v.Allowed)
	require.Greater(t, v.RetryAfter, time.Hour, "a token takes 10,000 s")
}

// TestAllAtOnce: three nodes want everything at the same time.
func TestAllAtOnce(t *testing.T) {
	s := redistest.Run(t)
	var clients []*client
	for range 3 {
		n := newNode(t, quick(s.Addr()))
		clients = append(clients, &client{zone: newTestZone(t, n, "zone", frozen)})
	}
	for _, c := range clients {
		eventually(t, func() bool { return c.zone.shared.node.Nodes() == 3 }, "three nodes")
	}
	var admitted atomic.Int64
	until := make([]int64, len(clients))
	for i, c := range clients {
		until[i] = c.zone.shared.node.Stats().Rounds + 8
	}
	var done sync.WaitGroup
	for i, c := range clients {
		for range 4 {
			done.Go(func() {
				for c.zone.shared.node.Stats().Rounds < until[i] {
					for range 50 {
						if c.request("client") {
							admitted.Add(1)
						}
					}
				}
			})
		}
	}
	done.Wait()
	require.GreaterOrEqual(t, admitted.Load(), int64(frozen.Burst))
	require.LessOrEqual(t, admitted.Load(), int64(2*frozen.Burst), "the burst, and a share of it per node before the server knows")
	for _, c := range clients {
		v := c.zone.Take([]byte("client"), 1, time.Now())
		require.False(t, v.Allowed)
		c.zone.Refund(v)
	}
}

func TestLeasesAreGivenBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(*Node, *Zone)
	}{
		{"zone closed", func(n *Node, z *Zone) { z.Close(); z.Close() }},
		{"node closed", func(n *Node, z *Zone) { n.Close(); n.Close() }},
		{"client gone", func(*Node, *Zone) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redistest.Run(t)
			n, other := newNode(t, quick(s.Addr())), newNode(t, quick(s.Addr()))
			eventually(t, func() bool { return n.Nodes() == 2 && other.Nodes() == 2 }, "two nodes")
			one := &client{zone: newTestZone(t, n, "zone", frozen)}
			admitted := 0
			eventually(t, func() bool {
				if admitted < 200 && one.request("client") {
					admitted++
				}
				return n.Stats().Tokens > 0 && admitted > 150
			}, "a lease is outstanding")
			c.leave(n, one.zone)

			two := &client{zone: newTestZone(t, other, "zone", frozen)}
			eventually(t, func() bool {
				for range 5 {
					if two.request("client") {
						admitted++
					}
				}
				return admitted >= frozen.Burst
			}, "another node gets the rest")
		})
	}
}

func TestKeysOnTheServer(t *testing.T) {
	s := redistest.Run(t)
	cfg := quick(s.Addr())
	cfg.Secret = "shared"
	n := newNode(t, cfg)
	eventually(t, connected(n), "connected")
	fast := lease.Limit{Rate: 1, Burst: 2}
	one := &client{zone: newTestZone(t, n, "zone", fast)}
	var keys []string
	eventually(t, func() bool {
		one.request("192.0.2.1")
		keys = s.Ask("KEYS", "edge:limit:zone:*")
		return len(keys) == 1
	}, "a key")
	want := "edge:limit:zone:{" + lease.NewHasher("shared", "zone").Key([]byte("192.0.2.1")).String() + "}"
	require.Equal(t, []string{want}, keys)
	ttl := milliseconds(t, s.Ask("PTTL", want))
	require.Positive(t, ttl)
	require.LessOrEqual(t, ttl, 6000, "debt is at most two bursts and a second")
	require.Positive(t, milliseconds(t, s.Ask("PTTL", "edge:limit:{nodes}")))

	z := newTestZone(t, n, "slow", frozen)
	_, err := z.Free(t.Context(), []byte("client"))
	require.NoError(t, err)
	require.Empty(t, s.Ask("KEYS", "edge:limit:slow:*"), "a full bucket needs no key")
	eventually(t, func() bool {
		v := z.Take([]byte("client"), 10, time.Now())
		return v.Known && !v.Allowed
	}, "used up")
	eventually(t, func() bool { return len(s.Ask("KEYS", "edge:limit:slow:*")) == 1 }, "a key")
	value := s.Ask("GET", s.Ask("KEYS", "edge:limit:slow:*")[0])
	require.Regexp(t, `^\d{16}\.\d{3}$`, value[0], "microseconds, all digits")
}

func TestReset(t *testing.T) {
	s := redistest.Run(t)
	n := newNode(t, quick(s.Addr()))
	z := newTestZone(t, n, "zone", frozen)
	require.ErrorIs(t, func() error { n.Close(); return z.Reset(t.Context(), []byte("client")) }(), ErrOffline)

	n = newNode(t, quick(s.Addr()))
	eventually(t, connected(n), "connected")
	z = newTestZone(t, n, "zone", frozen)
	refused := func() bool {
		v := z.Take([]byte("client"), 1, time.Now())
		return v.Known && !v.Allowed
	}
	eventually(t, refused, "used up")
	eventually(t, func() bool {
		free, err := z.Free(t.Context(), []byte("client"))
		return err == nil && free < 1
	}, "the server says so")
	free, err := z.Free(t.Context(), []byte("another"))
	require.NoError(t, err)
	require.InDelta(t, 300, free, 0)
	require.NoError(t, z.Reset(t.Context(), []byte("client")))
	eventually(t, func() bool {
		v := z.Take([]byte("client"), 1, time.Now())
		return v.Known && v.Allowed
	}, "allowed again by the server")
}

// TestServerKilledUnderLoad: no call fails, the local share holds meanwhile, and
// leases come back with the server.
func TestServerKilledUnderLoad(t *testing.T) {
	s := redistest.Run(t)
	n := newNode(t, quick(s.Addr()))
	other := newNode(t, quick(s.Addr()))
	eventually(t, func() bool { return n.Nodes() == 2 && other.Nodes() == 2 }, "two nodes")
	z := newTestZone(t, n, "zone", lease.Limit{Rate: 1000, Burst: 1000})

	var known, unknown, calls atomic.Int64
	stop := make(chan struct{})
	var done sync.WaitGroup
	for i := range 4 {
		name := fmt.Appendf(nil, "client %d", i%2)
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v := z.Take(name, 1, time.Now())
				calls.Add(1)
				if v.Known {
					known.Add(1)
				} else {
					unknown.Add(1)
				}
			}
		})
	}
	defer func() { close(stop); done.Wait() }()
	more := func(count *atomic.Int64) func() bool {
		from := count.Load()
		return func() bool { return count.Load() > from }
	}
	eventually(t, more(&known), "leases before")
	for range 2 {
		s.Kill()
		eventually(t, func() bool { return !n.Stats().Connected }, "the loss is noticed")
		before := known.Load()
		eventually(t, more(&unknown), "the share decides")
		calledSince := more(&calls)
		eventually(t, calledSince, "calls go on")
		require.LessOrEqual(t, known.Load()-before, int64(4), "but for calls under way nothing is decided by leases")
		st := n.Stats()
		require.NotEmpty(t, st.LastError)
		require.Positive(t, st.Errors)
		require.Equal(t, lease.Limit{Rate: 500, Burst: 500}, z.Share(), "by the last known number of nodes")

		s.Start()
		eventually(t, connected(n), "the server is found again")
		eventually(t, more(&known), "leases after")
		eventually(t, func() bool { return n.Nodes() == 2 }, "both nodes are back")
	}
}

func TestScriptsLost(t *testing.T) {
	s := redistest.Run(t)
	n := newNode(t, quick(s.Addr()))
	z := newTestZone(t, n, "zone", lease.Limit{Rate: 1000, Burst: 10})
	exchanged := func() bool {
		from := n.Stats().Exchanges
		eventually(t, func() bool {
			z.Take([]byte("client"), 5, time.Now())
			return n.Stats().Exchanges > from+3
		}, "exchanges")
		return true
	}
	exchanged()
	s.Ask("SCRIPT", "FLUSH")
	exchanged()
	require.Zero(t, n.Stats().Errors)
}

func TestOneKeyBroken(t *testing.T) {
	s := redistest.Run(t)
	n := newNode(t, quick(s.Addr()))
	eventually(t, connected(n), "connected")
	z := newTestZone(t, n, "zone", frozen)
	refused := func() bool {
		v := z.Take([]byte("later"), 1, time.Now())
		return v.Known && !v.Allowed
	}
	eventually(t, refused, "used up")
	// In one step: between two commands an exchange would set the key again.
	require.Equal(t, []string{"1"}, s.Ask("EVAL", "redis.call('DEL', KEYS[1]) return redis.call('LPUSH', KEYS[1], 'x')",
		"1", z.shared.key(z.shared.hasher.Key([]byte("later")))))
	eventually(t, func() bool { return !z.Take([]byte("later"), 1, time.Now()).Known }, "the last answer does not hold for ever")

	s.Ask("LPUSH", z.shared.key(z.shared.hasher.Key([]byte("broken"))), "x")
	answered := false
	eventually(t, func() bool {
		answered = answered || z.Take([]byte("broken"), 10, time.Now()).Known
		v := z.Take([]byte("sound"), 5, time.Now())
		return v.Known && n.Stats().Errors > 3
	}, "the other key is served")
	require.False(t, answered, "the share decides for the broken one")
	st := n.Stats()
	require.True(t, st.Connected)
	require.Contains(t, st.LastError, "WRONGTYPE")
}

func TestRedisCluster(t *testing.T) {
	s := redistest.Run(t, "--cluster-enabled", "yes")
	require.Equal(t, []string{"OK"}, s.Ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383"))
	eventually(t, func() bool { return strings.Contains(s.Ask("CLUSTER", "INFO")[0], "cluster_state:ok") }, "cluster ready")
	n := newNode(t, quick(s.Addr()))
	eventually(t, connected(n), "connected")
	z := newTestZone(t, n, "zone", frozen)
	for i := range 8 {
		eventually(t, func() bool { return z.Take(fmt.Appendf(nil, "client %d", i), 40, time.Now()).Known }, "every slot answers")
	}
}

func TestUnreachableAtStart(t *testing.T) {
	addr := freeAddress(t)
	for _, c := range []struct {
		policy  OnError
		known   bool
		allowed bool
		retry   time.Duration
	}{
		{policy: ""},
		{policy: Local},
		{policy: Open, known: true, allowed: true},
		{policy: Closed, known: true, retry: time.Second},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			cfg := quick(addr)
			cfg.OnError = c.policy
			n := newNode(t, cfg)
			z := newTestZone(t, n, "zone", frozen)
			reported := make(chan error, 1)
			stop := n.Watch(func(connected bool, err error) {
				if !connected {
					reported <- err
				}
			})
			defer stop()
			select {
			case err := <-reported:
				require.ErrorContains(t, err, "connecting to the Redis server")
			case <-time.After(patience):
				require.Fail(t, "the loss was not reported")
			}
			v := z.Take([]byte("client"), 1, time.Now())
			require.Equal(t, c.known, v.Known)
			require.Equal(t, c.allowed, v.Allowed)
			require.Equal(t, c.retry, v.RetryAfter)
			z.Refund(v)
			require.Equal(t, c.known, z.Take([]byte("client"), 0, time.Now()).Allowed, "a cost of 0 is never refused")
			st := n.Stats()
			require.False(t, st.Connected)
			require.Equal(t, 1, st.Nodes)
			require.Positive(t, st.Errors)
		})
	}
}

func TestServerComesLater(t *testing.T) {
	s := redistest.Run(t)
	s.Kill()
	n := newNode(t, quick(s.Addr()))
	eventually(t, func() bool { return n.Stats().Errors > 1 }, "tried in vain")
	s.Start()
	eventually(t, connected(n), "connected")
}

// TestSilentServer: one that takes connections and never says a word blocks
// nobody.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var done sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	})
	defer func() {
		l.Close()
		done.Wait()
		for _, conn := range conns {
			conn.Close()
		}
	}()
	cfg := quick(l.Addr().String())
	cfg.Timeout = 50 * time.Millisecond
	n := newNode(t, cfg)
	eventually(t, func() bool { return n.Stats().Errors > 1 }, "given up and tried again")
	n.Close()
}

func TestPassword(t *testing.T) {
	const secret = "correct-horse"
	s := redistest.Run(t, "--requirepass", secret)
	cfg := quick(s.Addr())
	cfg.Password = secret
	eventually(t, connected(newNode(t, cfg)), "logged in")

	cfg.Password = "wrong-battery"
	n := newNode(t, cfg)
	eventually(t, func() bool { return n.Stats().Errors > 0 }, "refused")
	st := fmt.Sprintf("%+v", n.Stats())
	require.Contains(t, st, "WRONGPASS")
	require.NotContains(t, st, cfg.Password)

	cfg.Addresses = []string{"redis://user:" + secret + "@" + s.Addr()}
	_, err := New(cfg)
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
}

func TestConfig(t *testing.T) {
	valid := Config{Addresses: []string{"127.0.0.1:6379"}}
	c, err := valid.withDefaults()
	require.NoError(t, err)
	require.Equal(t, Config{
		Addresses: valid.Addresses, Prefix: "edge:limit:", Interval: 100 * time.Millisecond,
		Timeout: 500 * time.Millisecond, OnError: Local,
	}, c)
	for name, change := range map[string]func(*Config){
		"no address":           func(c *Config) { c.Addresses = nil },
		"address 1":            func(c *Config) { c.Addresses = []string{"localhost"} },
		"address 2":            func(c *Config) { c.Addresses = []string{"localhost:1", "localhost:"} },
		"prefix":               func(c *Config) { c.Prefix = "{x}" },
		"database -1":          func(c *Config) { c.DB = -1 },
		"interval 1ms":         func(c *Config) { c.Interval = time.Millisecond },
		"interval 11s":         func(c *Config) { c.Interval = 11 * time.Second },
		"timeout -1ns":         func(c *Config) { c.Timeout = -1 },
		"timeout 2m":           func(c *Config) { c.Timeout = 2 * time.Minute },
		`on_error "sometimes"`: func(c *Config) { c.OnError = "sometimes" },
		"keys 63":              func(c *Config) { c.Keys = 63 },
	} {
		c := valid
		change(&c)
		_, err := New(c)
		require.ErrorContains(t, err, name)
	}
}

func TestZoneConfig(t *testing.T) {
	n := newNode(t, quick(freeAddress(t)))
	for name, l := range map[string]lease.Limit{
		"":     frozen,
		"a{b":  frozen,
		"rate": {Burst: 1},
	} {
		_, err := n.Zone(name, l)
		require.ErrorContains(t, err, "zone")
	}
	a := newTestZone(t, n, "zone", frozen)
	b := newTestZone(t, n, "zone", frozen)
	c := newTestZone(t, n, "zone", lease.Limit{Rate: 1, Burst: 1})
	require.Same(t, a.shared, b.shared)
	require.NotSame(t, a.shared, c.shared)
	require.Equal(t, 2, n.Stats().Zones)
	b.Close()
	b.Close()
	require.Equal(t, 2, n.Stats().Zones, "one Close per Zone counts")
	a.Close()
	require.Equal(t, 1, n.Stats().Zones)
	require.True(t, strings.HasPrefix(c.shared.key(lease.Key{}), "edge:limit:zone:{0000"))
}
