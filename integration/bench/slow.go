package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// The slow client: it must get everything although the server gives a client that
// takes nothing only a short time.
const (
	slowSize = 32 << 20
	slowRate = 5_000_000 // bytes per second
	slowIdle = 2 * time.Second
)

// runSlowClient tells whether a slow client gets a large hit whole.
func runSlowClient(ctx context.Context, b *bench) error {
	e, err := b.startEdge(ctx, edgeOptions{servers: fmt.Sprintf("\t\ttimeouts {\n\t\t\twrite_idle %s\n\t\t}", slowIdle)})
	if err != nil {
		return err
	}
	defer e.close()
	path, fetches := b.origin.page(reply{fields: cacheable, size: slowSize})
	if err := warm(ctx, proxy{e.process, e.cache}, path, fetches.Load); err != nil {
		return err
	}
	c, err := dial(ctx, e.cache, time.Now().Add(time.Minute))
	if err != nil {
		return err
	}
	defer c.close()
	// The kernel must not take the whole body in the client's place.
	if err := c.conn.(*net.TCPConn).SetReadBuffer(readerSize); err != nil {
		return err
	}
	start, taken := time.Now(), 0
	got, err := c.get(&request{path: path}, func(p []byte) {
		taken += len(p)
		time.Sleep(time.Until(start.Add(time.Duration(float64(taken) / slowRate * float64(time.Second)))))
	})
	f := finding{
		what: "slow client", target: "32 MiB whole",
		measured: fmt.Sprintf("%s in %s", mebibytes(got.length), seconds(time.Since(start))),
		reached:  err == nil && got.length == slowSize && got.sum == checksum(slowSize),
		beside:   fmt.Sprintf("client at 5 MB/s, write_idle %s", slowIdle),
	}
	if err != nil {
		f.measured = fmt.Sprintf("%s, then %v", mebibytes(int64(taken)), err)
	}
	b.table.add(f)
	return nil
}
