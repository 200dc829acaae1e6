package integration

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/internal/redistest"
)

func TestClusterHoldsALimitTogether(t *testing.T) {
	t.Parallel()
	redis := redistest.Run(t)
	const burst, nodes = 60, 3 // a token a minute
	k := startCluster(t, redis, nodes, harness.Vars{"rate": "60/h"})
	started := time.Now()
	// came is what the rate has brought in, at most.
	came := func() float64 { return time.Since(started).Minutes() }

	total := 0
	// more adds what passed to the total, and holds it to what a client may have that
	// surprises all nodes at once: a burst more, and what their shares round up and
	// bring in by themselves.
	more := func(t *testing.T, allowed int) int {
		t.Helper()
		total += allowed
		require.LessOrEqual(t, float64(total), 2*burst+nodes-1+2*came())
		return allowed
	}
	// nothing requires that at most that passed which nodes may believe to have come in
	// when nothing is left.
	nothing := func(t *testing.T, allowed int) {
		t.Helper()
		require.LessOrEqual(t, float64(more(t, allowed)), nodes+2*came())
	}

	t.Run("a client that turns to all nodes at once", func(t *testing.T) {
		require.GreaterOrEqual(t, more(t, k.exhaust("everywhere", 120)), burst)
		// What was too much is missing afterwards, also when the answers are old.
		nothing(t, k.exhaust("everywhere", 120))
		k.awaitRounds(40)
		nothing(t, k.hammer("everywhere", 120))
	})
	t.Run("a client of one node gets the whole burst", func(t *testing.T) {
		node := k.nodes[0].in(t)
		send := func() bool { return node.get("/page", "X-Client: faithful").Status == http.StatusOK }
		began := time.Now()
		allowed := 0
		poll(t, "the whole burst", func() bool {
			for send() {
				allowed++
			}
			return allowed >= burst
		})
		k.awaitRounds(10)
		for send() {
			allowed++
		}
		require.LessOrEqual(t, float64(allowed), burst+time.Since(began).Minutes())
	})
	t.Run("the server sees no client", func(t *testing.T) {
		keys := redis.Ask("KEYS", "*")
		require.NotEmpty(t, keys)
		for _, key := range keys {
			require.True(t, strings.HasPrefix(key, "edge:limit:"), key)
			require.NotContains(t, key, "everywhere")
		}
	})
	t.Run("reload", func(t *testing.T) {
		connections := func() int { return strings.Count(redis.Ask("CLIENT", "LIST")[0], "id=") }
		before := connections()
		reload := func(node *cachedEdge, rate, more string) error {
			return node.Reload(clusteredSite, harness.Vars{"rate": rate, "more": more})
		}
		for _, node := range k.nodes {
			require.NoError(t, reload(node, "60/h", "header X-Changed yes"))
			// Refused only when the limit has been made already.
			require.Error(t, reload(node, "120/h", "file_server {\nprecompressed nonsense\n}"))
		}
		nothing(t, k.hammer("everywhere", 60))
		for _, rate := range []string{"30/h", "60/h"} {
			for _, node := range k.nodes {
				require.NoError(t, reload(node, rate, ""))
			}
			more(t, k.hammer("everywhere", 60))
		}
		require.Equal(t, before, connections(), "connections are kept, and none is left over")
	})
}

func TestClusterSurvivesTheLossOfRedisUnderLoad(t *testing.T) {
	t.Parallel()
	redis := redistest.Run(t)
	const burst = 30 // half a token a minute
	k := startCluster(t, redis, 2, harness.Vars{"rate": "30/h"})
	started := time.Now()
	came := func() float64 { return time.Since(started).Minutes() / 2 }

	stop := make(chan struct{})
	var (
		load sync.WaitGroup
		mu   sync.Mutex
	)
	statuses := make(map[string]int)
	for i, node := range k.nodes {
		client, url := node.Client(harness.H1), node.URL("site")+"/page"
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				// One that is always refused, and one that comes back now and then.
				status := statusOf(client, url, "X-Client: "+[]string{"hot", "cold" + string(rune('a'+n/10%26))}[(n+i)%2])
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	count := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, times := range statuses {
			n += times
		}
		return n
	}
	more := func(t *testing.T) {
		t.Helper()
		before := count()
		poll(t, "the load goes on", func() bool { return count() > before+100 })
	}
	more(t)
	redis.Kill()
	for _, node := range k.nodes {
		node.WaitLog(isLost)
		require.Len(t, node.clusters(), 1)
		require.False(t, node.clusters()[0].Connected)
		require.Equal(t, 2, node.clusters()[0].Nodes)
	}
	more(t)
	// Each node holds its share, now for clients that it has never seen.
	allowed := k.hammer("unknown", 60)
	require.GreaterOrEqual(t, allowed, burst)
	require.LessOrEqual(t, float64(allowed), burst+came())

	redis.Start()
	for _, node := range k.nodes {
		node.awaitRedis(2)
	}
	more(t)
	close(stop)
	load.Wait()
	mu.Lock()
	require.Equal(t, len(statuses), min(statuses["200"], 1)+min(statuses["429"], 1), "neither allowed nor refused: %v", statuses)
	mu.Unlock()
	require.LessOrEqual(t, float64(k.hammer("afterwards", 120)), 2*burst+1+2*came())
}

func TestClusterWithoutRedisAtTheStart(t *testing.T) {
	t.Parallel()
	for _, onError := range []string{"local", "open", "closed"} {
		t.Run(onError, func(t *testing.T) {
			t.Parallel()
			redis := redistest.New(t)
			c := startLimitedFile(t, clusteredSite, harness.Vars{"redis": redis.Addr(), "rate": slow, "on_error": onError, "more": ""})
			lost := c.WaitLog(isLost)
			require.Contains(t, lost["error"], "connecting to the Redis server")
			send := func() *harness.Response { return c.get("/page", "X-Client: a") }
			switch onError {
			case "local":
				requireAllowed(t, 3, send)
			case "open":
				for range 10 {
					require.Equal(t, http.StatusOK, send().Status)
				}
			case "closed":
				require.Equal(t, 1, retryAfter(t, requireAllowed(t, 0, send)))
			}
			redis.Start()
			c.awaitRedis(1)
			poll(t, "the limit holds", func() bool { return c.get("/page", "X-Client: b").Status == http.StatusTooManyRequests })
			require.Equal(t, 1, c.countLogs(isLost), "it is said once")
		})
	}
}

func TestClusterAdmin(t *testing.T) {
	t.Parallel()
	redis := redistest.Run(t)
	k := startCluster(t, redis, 1, nil)
	c := k.nodes[0]
	refused := func(client string) bool {
		return c.get("/page", "X-Client: "+client).Status == http.StatusTooManyRequests
	}
	poll(t, "the client is refused", func() bool { return refused("a") })
	poll(t, "the server knows of all that was spent", func() bool {
		s := c.inspect("shared", "a")
		return !s.Allowed && s.Cluster != nil && *s.Cluster < 1
	})
	fresh := c.inspect("shared", "b")
	require.True(t, fresh.Allowed)
	require.InDelta(t, 3, *fresh.Cluster, 0.1)

	status, body := c.operate("/edge/limit/reset", map[string]any{"zone": "shared", "key": []string{"a"}})
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"reset":true}`, body)
	allowed := 0
	poll(t, "the client has its burst again", func() bool {
		if !refused("a") {
			allowed++
		}
		return allowed == 3
	})
}

func TestRedisThatHangsDelaysNobody(t *testing.T) {
	t.Parallel()
	redis := redistest.Run(t)
	k := startCluster(t, redis, 1, nil)
	c := k.nodes[0]
	// The server answers nobody for as long as the test takes.
	redis.Ask("CLIENT", "PAUSE", "600000", "ALL")
	c.WaitLog(isLost)
	client := c.Client(harness.H1)
	client.Timeout = limit
	start := time.Now()
	for i := range 50 {
		require.Equal(t, "200", statusOf(client, c.URL("site")+"/page", "X-Client: "+string(rune('A'+i))))
	}
	require.Less(t, time.Since(start), limit)
	require.Equal(t, http.StatusOK, c.get("/page", "X-Client: a").Status)
}
