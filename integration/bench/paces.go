package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"time"
)

// What a request through the tunnel may be in relation to one without it.
const (
	leastTunnelRate = 0.70
	mostTunnelCPU   = 1.6
	mostTunnelP99   = 1.5
	tunnelClients   = 64
)

// The sites of the row.
const (
	siteTunnel = iota
	siteDirect // as Caddy is by default: it keeps 32 idle connections to a backend
	siteIdle   // with as many idle connections as there are clients
)

const manyIdle = "\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 128\n\t\t}\n"

// effort is processor time.
type effort struct{ edge, agent, own time.Duration }

// all is that of edge and agent.
func (s effort) all() time.Duration { return s.edge + s.agent }

// pace is what rounds of a load came to at one site.
type pace struct {
	rate, cpu, agent, p50, p99 sample
	own                        sample // of the generator and the backend
	busy                       sample // processors, with all of it
}

// add adds a round.
func (p *pace) add(r loadResult, s effort) {
	n := float64(r.requests)
	p.rate = append(p.rate, n/r.time.Seconds())
	p.cpu = append(p.cpu, s.all().Seconds()/n)
	p.agent = append(p.agent, s.agent.Seconds()/n)
	p.own = append(p.own, s.own.Seconds()/n)
	p.busy = append(p.busy, (s.all()+s.own).Seconds()/r.time.Seconds())
	p.p50 = append(p.p50, r.latencies.quantile(0.5))
	p.p99 = append(p.p99, r.latencies.quantile(0.99))
}

// runTunnelSmall compares small responses through the tunnel with those that come
// directly.
func runTunnelSmall(ctx context.Context, b *bench) error {
	rounds, requests := 20, int64(12_000)
	if b.short {
		rounds, requests = 6, 6_000
	}
	path, _ := b.origin.page(reply{fields: plain, size: 1 << 10})
	t, err := b.newTunnel(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.start(ctx, b, t.site(appBackend, ""), directSite(b.origin.addr, ""), directSite(b.origin.addr, manyIdle)); err != nil {
		return err
	}
	agent, err := t.startAgent(ctx, agentOptions{name: "a1", to: b.origin.addr})
	if err != nil {
		return err
	}
	const limit = 20 * time.Minute
	conns := make([][]*client, len(t.addrs))
	for i := range conns {
		if conns[i], err = t.connect(ctx, i, tunnelClients, limit); err != nil {
			return err
		}
		defer closeAll(conns[i])
	}
	paces := make([]pace, len(conns))
	l := getLoad(path, requests)
	for round := -1; round < rounds; round++ { // the first for pools and buffers
		for i := range conns {
			if round%2 == 1 {
				i = len(conns) - 1 - i
			}
			done, cost, err := t.costs(agent, func() (loadResult, error) { return l.drive(ctx, conns[i], limit) })
			if err != nil {
				return err
			}
			if round >= 0 {
				paces[i].add(done, cost)
			}
		}
	}
	b.table.addPaces(paces)
	return nil
}

// getLoad is a load of GETs of one page, timed.
func getLoad(path string, requests int64) *load {
	return &load{
		requests: requests, timed: true, make: func(_ int64, r *request) { r.host, r.path = "localhost", path },
		check: wholly(1 << 10),
	}
}

// wholly checks for a status 200 with that many bytes.
func wholly(size int64) func(int64, *responseHead) error {
	return func(_ int64, head *responseHead) error {
		if head.status != http.StatusOK || head.length != size {
			return fmt.Errorf("status %d, %d bytes", head.status, head.length)
		}
		return nil
	}
}

// costs returns the processor time that a load takes.
func (t *tunnel) costs(agent *process, run func() (loadResult, error)) (done loadResult, s effort, err error) {
	before, err := t.spent(agent)
	if err != nil {
		return done, s, err
	}
	if done, err = run(); err != nil {
		return done, s, err
	}
	after, err := t.spent(agent)
	return done, effort{after.edge - before.edge, after.agent - before.agent, after.own - before.own}, err
}

// spent returns the processor time until now.
func (t *tunnel) spent(agent *process) (s effort, err error) {
	if s.edge, err = t.cpuTime(); err != nil {
		return s, err
	}
	if s.agent, err = agent.cpuTime(); err != nil {
		return s, err
	}
	s.own, err = ownTime()
	return s, err
}

// addPaces judges the sites of the row.
func (t *table) addPaces(p []pace) {
	tunnel, direct, idle := p[siteTunnel], p[siteDirect], p[siteIdle]
	rate := tunnel.rate.over(direct.rate)
	t.add(finding{
		what: "rate", measured: fmt.Sprintf("%s, %.0f/s", rate.ratio(), tunnel.rate.median()),
		target: fmt.Sprintf(">= %.2fx of direct", leastTunnelRate), reached: rate.median() >= leastTunnelRate,
		beside: fmt.Sprintf("direct %.0f/s; with 128 idle connections %.0f/s, against which %s; %.2f, direct %.2f of %d processors were busy with it",
			direct.rate.median(), idle.rate.median(), tunnel.rate.over(idle.rate).ratio(), tunnel.busy.median(), direct.busy.median(), runtime.NumCPU()),
	})
	cpu := tunnel.cpu.over(direct.cpu)
	t.add(finding{
		what: "CPU of edge and agent", measured: fmt.Sprintf("%s, %.1f us", cpu.ratio(), tunnel.cpu.median()*1e6),
		target: fmt.Sprintf("<= %.1fx of direct", mostTunnelCPU), reached: cpu.median() <= mostTunnelCPU,
		beside: fmt.Sprintf("of the agent %.1f us; direct %.1f us; with 128 idle connections %.1f us, against which %s; generator and backend %.1f us, direct %.1f us",
			tunnel.agent.median()*1e6, direct.cpu.median()*1e6, idle.cpu.median()*1e6, tunnel.cpu.over(idle.cpu).ratio(), tunnel.own.median()*1e6, direct.own.median()*1e6),
	})
	p99 := tunnel.p99.over(direct.p99)
	t.add(finding{
		what: "P99", measured: fmt.Sprintf("%s, %s", p99.ratio(), seconds(duration(tunnel.p99.median()))),
		target: fmt.Sprintf("<= %.1fx of direct", mostTunnelP99), reached: p99.median() <= mostTunnelP99,
		beside: fmt.Sprintf("direct %s; with 128 idle connections %s, against which %s; P50 %s, direct %s",
			seconds(duration(direct.p99.median())), seconds(duration(idle.p99.median())), tunnel.p99.over(idle.p99).ratio(),
			seconds(duration(tunnel.p50.median())), seconds(duration(direct.p50.median()))),
	})
}
