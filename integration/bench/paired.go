package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// sliceRequests is how many requests a load sends before it is another one's turn: what
// else goes on in the machine lasts longer than that.
const sliceRequests = 128

// spent is what a load took, a value for each round: seconds per request of the server's
// processor time, and of the clock for each client.
type spent struct{ cpu, clock sample }

// paired has loads take turns, and returns what their requests took. A round is all
// requests of each, so many that it has collections of garbage of its own, in slices.
// The slices of all are interleaved, so that what else goes on meets a load and its
// baseline alike, and the median of their ratios is far more precise than any one of
// them. Chance says who is next: in a fixed order some would often follow themselves,
// and find the caches as they left them. The first round is for warming up and does not
// count.
func paired(ctx context.Context, p *process, loads []*load, rounds int) ([]spent, error) {
	const limit = time.Hour
	connections := make([][]*client, len(loads))
	for i, l := range loads {
		var err error
		if connections[i], err = dialMany(ctx, l.addr, l.clients, limit); err != nil {
			return nil, err
		}
		defer closeAll(connections[i])
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // an order is no secret
	all := make([]spent, len(loads))
	for round := range 1 + rounds {
		sums := make([]struct{ cpu, clock float64 }, len(loads))
		for sent := int64(0); sent < loads[0].requests; sent += sliceRequests {
			for _, i := range random.Perm(len(loads)) {
				slice := *loads[i]
				slice.requests = sliceRequests
				start := time.Now()
				cost, err := p.cpuPer(func() (loadResult, error) { return slice.drive(ctx, connections[i], limit) })
				if err != nil {
					return nil, err
				}
				sums[i].cpu += cost * sliceRequests
				sums[i].clock += time.Since(start).Seconds() * float64(slice.clients)
			}
		}
		if round == 0 {
			continue
		}
		for i, l := range loads {
			all[i].cpu = append(all[i].cpu, sums[i].cpu/float64(l.requests))
			all[i].clock = append(all[i].clock, sums[i].clock/float64(l.requests))
		}
	}
	return all, nil
}
