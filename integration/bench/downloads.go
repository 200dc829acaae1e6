package main

import (
	"context"
	"fmt"
	"runtime"
)

const (
	leastBulk      = 0.45
	leastBulkLanes = 0.70
	dataConns      = 4
)

// The sites of the row.
const (
	siteMain  = iota // all over one connection
	siteLanes        // over connections of their own
	siteBulkDirect
)

// runTunnelBulk compares the speed of one large response.
func runTunnelBulk(ctx context.Context, b *bench) error {
	rounds := 14
	if b.short {
		rounds = 5
	}
	path, _ := b.origin.page(reply{fields: plain, size: bulkSize})
	t, err := b.newTunnel(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.start(ctx, b, t.site(appBackend, ""), t.site(lanesBackend, ""), directSite(b.origin.addr, "")); err != nil {
		return err
	}
	one, err := t.startAgent(ctx, agentOptions{name: "one", to: b.origin.addr})
	if err != nil {
		return err
	}
	many, err := t.startAgent(ctx, agentOptions{name: "many", backend: lanesBackend, to: b.origin.addr, flags: []string{"--data-conns", fmt.Sprint(dataConns)}})
	if err != nil {
		return err
	}
	if err := t.awaitLanes(ctx, "many", dataConns); err != nil {
		return err
	}
	speeds, busy, agents := make([]sample, len(t.addrs)), make([]sample, len(t.addrs)), []*process{siteMain: one, siteLanes: many, siteBulkDirect: one}
	for round := -1; round < rounds; round++ {
		for i := range speeds {
			if round%2 == 1 {
				i = len(speeds) - 1 - i
			}
			var speed float64
			_, cost, err := t.costs(agents[i], func() (_ loadResult, err error) {
				speed, err = t.download(ctx, i, path)
				return loadResult{}, err
			})
			if err != nil {
				return err
			}
			if round >= 0 {
				speeds[i], busy[i] = append(speeds[i], speed), append(busy[i], cost.all().Seconds())
			}
		}
	}
	for _, f := range []struct {
		what  string
		site  int
		least float64
	}{{"100 MiB, one stream", siteMain, leastBulk}, {fmt.Sprintf("with %d data conns", dataConns), siteLanes, leastBulkLanes}} {
		ratio := speeds[f.site].over(speeds[siteBulkDirect])
		b.table.add(finding{
			what: f.what, measured: fmt.Sprintf("%s, %.0f MB/s", ratio.ratio(), speeds[f.site].median()/1e6),
			target: fmt.Sprintf(">= %.2fx of direct", f.least), reached: ratio.median() >= f.least,
			beside: fmt.Sprintf("direct %.0f MB/s; CPU of edge and agent %s, direct %s; TLS at the edge and to the agent; %d rounds on %d processors",
				speeds[siteBulkDirect].median()/1e6, busy[f.site].millis(), busy[siteBulkDirect].millis(), rounds, runtime.NumCPU()),
		})
	}
	return nil
}
