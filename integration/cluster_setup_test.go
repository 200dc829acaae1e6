package integration

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
	"github.com/caddyedge/caddy-edge/internal/redistest"
)

// clusteredSite is a node of a cluster whose zone counts by a header, so that a
// client is the same one on all nodes.
const clusteredSite = `
	{
		edge {
			redis {{.redis}} {
				interval 50ms
				on_error {{.on_error}}
			}
		}
	}
	{{http "site"}} {
		edge_limit {
			zone shared {{.rate}} {
				key {header.X-Client}
				cluster
			}
		}
		{{.more}}
		reverse_proxy {{.origin}}
	}
`

// cluster is several nodes in front of one origin.
type cluster struct {
	t     *testing.T
	redis *redistest.Redis
	nodes []*cachedEdge
}

// startCluster starts nodes that know each other. The server runs already.
func startCluster(t *testing.T, redis *redistest.Redis, n int, vars harness.Vars) *cluster {
	t.Helper()
	o := origin.Start(t)
	o.Handle("/*", text("ok"))
	k := &cluster{t: t, redis: redis}
	for range n {
		e := harness.Start(t, clusteredSite,
			harness.Vars{"redis": redis.Addr(), "origin": o.Addr(), "rate": slow, "on_error": "local", "more": ""}, vars)
		k.nodes = append(k.nodes, &cachedEdge{Edge: e, t: t, origin: o})
	}
	for _, node := range k.nodes {
		node.awaitRedis(1)
	}
	k.awaitMembers()
	return k
}

// clusterStatus is what the admin endpoint says of a node's part in its cluster.
type clusterStatus struct {
	Connected      bool
	Nodes          int
	Tokens, Rounds int
}

func (c *cachedEdge) clusters() []clusterStatus {
	c.t.Helper()
	var reply struct{ Clusters []clusterStatus }
	c.ask("/edge/limit/cluster", &reply)
	return reply.Clusters
}

// awaitMembers waits until each node knows how many nodes there are.
func (k *cluster) awaitMembers() {
	k.t.Helper()
	for _, node := range k.nodes {
		poll(k.t, "the node knows the others", func() bool {
			all := node.clusters()
			return len(all) == 1 && all[0].Connected && all[0].Nodes == len(k.nodes)
		})
	}
}

// awaitRounds waits until each node has exchanged with the server n times more.
func (k *cluster) awaitRounds(n int) {
	k.t.Helper()
	for _, node := range k.nodes {
		before := node.clusters()[0].Rounds
		poll(k.t, fmt.Sprintf("%d more rounds", n), func() bool { return node.clusters()[0].Rounds >= before+n })
	}
}

// exhaust hammers the nodes until all that a client may have is spent: no node has
// a lease, and the server has nothing left. It returns how many requests passed.
func (k *cluster) exhaust(client string, perNode int) (allowed int) {
	k.t.Helper()
	allowed = k.hammer(client, perNode)
	poll(k.t, "all is spent", func() bool {
		for _, node := range k.nodes {
			if node.clusters()[0].Tokens > 0 {
				return false
			}
		}
		left := k.nodes[0].inspect("shared", client).Cluster
		if left != nil && *left < 1 {
			return true
		}
		allowed += k.hammer(client, perNode) // a lease that came too late was given back
		return false
	})
	return allowed
}

// awaitRedis waits until the node has said n times that it found the server.
func (c *cachedEdge) awaitRedis(n int) {
	c.t.Helper()
	poll(c.t, fmt.Sprintf("the server was found %d times", n), func() bool {
		return c.countLogs(func(e harness.Entry) bool { return e["msg"] == "limits are shared through Redis" }) >= n
	})
}

// isLost matches the line that says that the server can't be reached.
func isLost(e harness.Entry) bool {
	message, _ := e["msg"].(string)
	return e["level"] == "error" && strings.HasPrefix(message, "Redis can't be reached")
}

// hammer sends requests of one client to all nodes at once, on several
// connections each, and returns how many passed. All others must be refused
// properly.
func (k *cluster) hammer(client string, perNode int) (allowed int) {
	k.t.Helper()
	const connections = 4
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		odd  []string
	)
	for _, node := range k.nodes {
		for range connections {
			sender, url := node.Client(harness.H1), node.URL("site")+"/page"
			wait.Go(func() {
				for range perNode / connections {
					status := statusOf(sender, url, "X-Client: "+client)
					mu.Lock()
					switch status {
					case "200":
						allowed++
					case "429":
					default:
						odd = append(odd, status)
					}
					mu.Unlock()
				}
			})
		}
	}
	wait.Wait()
	require.Empty(k.t, odd, "requests that were neither allowed nor refused")
	return allowed
}

// statusOf sends a GET request and returns the status, or what went wrong.
func statusOf(client *http.Client, url string, lines ...string) string {
	req, err := harness.NewRequest(http.MethodGet, url, "", lines...)
	if err != nil {
		return err.Error()
	}
	got, err := harness.Send(client, req)
	if err != nil {
		return err.Error()
	}
	return strconv.Itoa(got.Status)
}
