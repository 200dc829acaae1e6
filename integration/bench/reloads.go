package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	tunnelReloads = 20
	reloadClients = 32
	reloadPause   = 400 * time.Millisecond
)

// runTunnelReload loads the edge's config anew, again and again, under load.
func runTunnelReload(ctx context.Context, b *bench) error {
	const length = (tunnelReloads + 2) * reloadPause
	path, _ := b.origin.page(reply{fields: plain, size: 1 << 10})
	long, _ := b.origin.page(reply{fields: plain, size: 4 << 20, pace: length})
	t, err := b.newTunnel(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	site := t.site(appBackend, "")
	if err := t.start(ctx, b, site); err != nil {
		return err
	}
	for _, name := range []string{"a1", "a2"} {
		flags := []string{"--data-conns", fmt.Sprint(dataConns)}
		if name == "a1" {
			flags = nil
		}
		if _, err := t.startAgent(ctx, agentOptions{name: name, to: b.origin.addr, flags: flags}); err != nil {
			return err
		}
	}
	if err := t.awaitLanes(ctx, "a2", dataConns); err != nil {
		return err
	}
	before, err := t.admin.agents(ctx)
	if err != nil {
		return err
	}
	c := t.caller(0, time.Minute)
	defer c.close()
	downloads := c.volley(ctx, long, 2, http.MethodGet)
	stop := c.flowing(ctx, reloadClients, path, nil, http.MethodGet)
	done, err := t.reload(ctx, site)
	got := stop()
	if err != nil {
		return err
	}
	whole := 0
	for _, a := range <-downloads {
		if a.ok() && a.size == 4<<20 {
			whole++
		}
	}
	after, err := t.admin.agents(ctx)
	if err != nil {
		return err
	}
	lost := 0
	for name, a := range before {
		if !a.same(after[name]) || a.DataConns != after[name].DataConns {
			lost++
		}
	}
	b.table.add(finding{
		what: "sessions lost", measured: fmt.Sprintf("%d of %d", lost, len(before)), target: "none", reached: lost == 0 && len(before) == 2 && done == tunnelReloads,
		beside: fmt.Sprintf("%d reloads; since and address of the agents, and %d data connections of one, are the same", done, dataConns),
	})
	b.table.add(finding{
		what: "requests failed", measured: fmt.Sprintf("%d, and %d of 2 downloads", got.failed, 2-whole), target: "none",
		reached: got.failed == 0 && whole == 2 && got.done[http.MethodGet] > 0, beside: fmt.Sprintf("%s; %d clients; slowest %s; the downloads last for all of it", got, reloadClients, seconds(got.slowest)),
	})
	return nil
}

// reload loads configs that differ a little, and returns how many were taken.
func (t *tunnel) reload(ctx context.Context, site string) (done int, err error) {
	for i := range tunnelReloads {
		if !sleepUntil(ctx, time.Now().Add(reloadPause)) {
			return done, ctx.Err()
		}
		o := t.options(fmt.Sprintf("\theader Bench-Config %d\n%s", i, site))
		ok, err := t.admin.load(ctx, o.caddyfile(t.admin.addr(), t.addrs))
		if err != nil || !ok {
			return done, fmt.Errorf("loading a config: taken %t, %w", ok, err)
		}
		done++
	}
	return done, nil
}
