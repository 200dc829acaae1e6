package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// The distance of the row: in each direction, and both together.
const (
	oneWay    = 20 * time.Millisecond
	roundTrip = 2 * oneWay
	// lateness is what two more processes and the relay's waits, which end late by about a
	// tenth of a millisecond, add to the distance.
	lateness  = 3 * time.Millisecond
	farQueue  = 64 << 20 // on the way: more than a second's worth of a fast network
	farPause  = 100 * time.Millisecond
	farUpload = 10_000
	bulkSize  = 100 << 20
)

// runTunnelDelay compares requests to a far agent with those to a backend that is near.
func runTunnelDelay(ctx context.Context, b *bench) error {
	requests := int64(6_400)
	if b.short {
		requests = 1_920
	}
	path, _ := b.origin.page(reply{fields: plain, size: 1 << 10})
	large, _ := b.origin.page(reply{fields: plain, size: bulkSize})
	t, err := b.newTunnel(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.start(ctx, b, t.site(appBackend, ""), directSite(b.origin.addr, "")); err != nil {
		return err
	}
	far := wire{delay: oneWay, queue: farQueue, exact: true}
	r, err := startRelay(t.addrs[siteTunnel], far)
	if err != nil {
		return err
	}
	defer r.close()
	own, err := relayTime(ctx, far)
	if err != nil {
		return err
	}
	if _, err := t.startAgent(ctx, agentOptions{name: "far", to: b.origin.addr, edge: r.addr}); err != nil {
		return err
	}
	for _, kind := range []struct {
		method string
		body   []byte
		trips  int
		most   time.Duration
	}{{"GET", nil, 1, roundTrip + lateness}, {"POST", pattern[:farUpload], 2, 2*roundTrip + lateness}} {
		var latencies [2]sample
		for i := range latencies {
			l := getLoad(path, requests)
			l.addr, l.clients, l.tls, l.limit = t.addrs[i], tunnelClients, t.tls, 5*time.Minute
			l.make = func(_ int64, q *request) {
				// So that neither site is busy, and not all come at once.
				time.Sleep(farPause/2 + rand.N(farPause)) //nolint:gosec // load is no secret
				q.method, q.host, q.path, q.body = kind.method, "localhost", path, kind.body
			}
			done, err := l.run(ctx)
			if err != nil {
				return err
			}
			latencies[i] = done.latencies
		}
		more := latencies[siteTunnel].median() - latencies[siteDirect].median()
		b.table.add(finding{
			what: "P50 of " + kind.method, measured: fmt.Sprintf("+%s", seconds(duration(more))), target: fmt.Sprintf("<= +%s of direct", kind.most),
			reached: duration(more) <= kind.most,
			beside: fmt.Sprintf("%d x 40 ms of distance and %s for timers; an echo over the relay takes %s; direct %s; P99 %s, direct %s; %d connections, each about every %s",
				kind.trips, lateness, own, seconds(duration(latencies[siteDirect].median())),
				seconds(duration(latencies[siteTunnel].quantile(0.99))), seconds(duration(latencies[siteDirect].quantile(0.99))), tunnelClients, farPause),
		})
	}
	return t.addFarDownload(ctx, b, large)
}

// addFarDownload tells how fast one large response comes.
func (t *tunnel) addFarDownload(ctx context.Context, b *bench, path string) error {
	var speeds [2]sample
	rounds := 3
	if b.short {
		rounds = 1
	}
	for range rounds {
		for i := range speeds {
			speed, err := t.download(ctx, i, path)
			if err != nil {
				return err
			}
			speeds[i] = append(speeds[i], speed)
		}
	}
	b.table.add(finding{
		what: "100 MiB, one stream", measured: fmt.Sprintf("%.1f MB/s", speeds[siteTunnel].median()/1e6),
		beside: fmt.Sprintf("%.2f s; direct without the distance %.0f MB/s", bulkSize/speeds[siteTunnel].median(), speeds[siteDirect].median()/1e6),
	})
	return nil
}

// download gets a page of bulkSize over a connection of its own, and returns the bytes per
// second.
func (t *tunnel) download(ctx context.Context, site int, path string) (float64, error) {
	const limit = 2 * time.Minute
	conns, err := t.connect(ctx, site, 1, limit)
	if err != nil {
		return 0, err
	}
	defer closeAll(conns)
	start := time.Now()
	head, err := conns[0].skim(&request{host: "localhost", path: path})
	if err == nil {
		err = wholly(bulkSize)(0, head)
	}
	return bulkSize / time.Since(start).Seconds(), err
}

// relayTime returns the median time of an echo over a wire in each direction.
func relayTime(ctx context.Context, w wire) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	go acceptAll(l, func(conn net.Conn) {
		buf := []byte{0}
		for {
			if _, err := conn.Write(buf); err != nil {
				return
			}
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	})
	r, err := startRelay(l.Addr().String(), w)
	if err != nil {
		return "", err
	}
	defer r.close()
	const times, limit = 30, time.Minute
	c, err := dial(ctx, r.addr, time.Now().Add(limit))
	if err != nil {
		return "", err
	}
	defer c.close()
	var took sample
	for range times {
		start, buf := time.Now(), []byte{0}
		if _, err := c.conn.Write(buf); err != nil {
			return "", err
		}
		if _, err := c.conn.Read(buf); err != nil {
			return "", err
		}
		took = append(took, time.Since(start).Seconds())
	}
	return took.millis(), nil
}
