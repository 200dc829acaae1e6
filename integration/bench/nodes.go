package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/caddyedge/caddy-edge/internal/redistest"
)

const (
	clusterNodes    = 3
	hotKeys         = 20
	coldKeys        = 2000
	coldKeysShort   = 500
	coldVolley      = time.Second // in which a cold key sends all it has
	clusterLoad     = 2           // times what is legal
	clusterPatience = 5 * time.Second
)

// clusterQuota is the limit of each client on all nodes together. Its burst can be
// divided by the nodes: shares are whole requests, rounded up.
var clusterQuota = quota{rate: 15, burst: 30}

// The sites of each node.
const (
	siteShared = iota // the limit under test
	siteClustered
	siteLocal     // the same as siteClustered without a cluster
	siteLocalTwin // the same once more: what the row takes for a difference
)

// cluster is some nodes with the server that they share.
type cluster struct {
	redis *redistest.Server
	nodes []*sites
}

// startCluster starts the server and the nodes, and gives them the time to find
// each other.
func (b *bench) startCluster(ctx context.Context) (*cluster, error) {
	r, err := b.startRedis(ctx)
	if err != nil {
		return nil, err
	}
	c := &cluster{redis: r}
	zone := func(name string, rate, burst float64, option string) string {
		return fmt.Sprintf("\tedge_limit {\n\t\tzone %s {\n\t\t\trate %.0f/s\n\t\t\tburst %.0f\n%s\t\t}\n\t}\n\trespond 200\n", name, rate, burst, option)
	}
	const shared = "\t\t\tcluster\n"
	for range clusterNodes {
		s, err := b.startSites(ctx, siteOptions{
			name:   "node",
			global: trustLoopback + fmt.Sprintf("\tedge {\n\t\tredis %s\n\t}\n", r.Addr()),
			sites: []string{
				siteShared:    zone("shared", clusterQuota.rate, clusterQuota.burst, shared),
				siteClustered: zone("clustered", 1e6, 1e6, shared),
				siteLocal:     zone("local", 1e6, 1e6, ""),
				siteLocalTwin: zone("twin", 1e6, 1e6, ""),
			},
		})
		if err != nil {
			c.close()
			return nil, err
		}
		c.nodes = append(c.nodes, s)
	}
	const heartbeats = 3 * time.Second
	if !sleepUntil(ctx, time.Now().Add(heartbeats)) {
		c.close()
		return nil, ctx.Err()
	}
	return c, nil
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		n.close()
	}
	_ = c.redis.Kill() // fails only when nothing is there to kill
}

// load returns a load on the shared limit of all nodes.
func (c *cluster) load(arrivals []arrival) *openLoad {
	l := &openLoad{patience: clusterPatience, arrivals: arrivals}
	for _, n := range c.nodes {
		l.addrs = append(l.addrs, n.addrs[siteShared])
	}
	return l
}

// hotArrivals have clients ask for more than is legal, at random moments on
// random nodes.
func hotArrivals(random *rand.Rand, first int, length time.Duration) (all []arrival) {
	perSecond := clusterLoad * hotKeys * clusterQuota.rate
	for at := time.Duration(0); ; {
		if at += duration(random.ExpFloat64() / perSecond); at >= length {
			return all
		}
		all = append(all, clusterArrival(at, random.IntN(clusterNodes), first+random.IntN(hotKeys)))
	}
}

// coldArrivals have each client ask once for more than is legal, at even moments
// on all nodes in turn.
func coldArrivals(first, clients int, length time.Duration) (all []arrival) {
	each := int(clusterLoad * clusterQuota.legal(coldVolley))
	for n := range clients {
		start := (length - coldVolley) * time.Duration(n) / time.Duration(clients)
		for i := range each {
			at := start + coldVolley*time.Duration(i)/time.Duration(each)
			all = append(all, clusterArrival(at, i%clusterNodes, first+n))
		}
	}
	return all
}

func clusterArrival(at time.Duration, node, client int) arrival {
	return arrival{at: at, to: node, client: client, fields: forwardedFor(clientAddr(client))}
}
