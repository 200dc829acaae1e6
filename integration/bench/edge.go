package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// buildServer builds the server under test as a release is built.
func buildServer(ctx context.Context, dir string) (string, error) {
	file := filepath.Join(dir, "server")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "nobadger,nomysql,nopgx", "-o", file,
		"github.com/caddyedge/caddy-edge/integration/bench/server")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the server: %w\n%s", err, out)
	}
	return file, nil
}

// edge is the server under test: one site with the cache in front of the origin,
// and sites with the baseline handler, in one process.
type edge struct {
	*sites
	cache    string // address of the site with the cache
	baseline map[int64]string
}

// edgeOptions are what rows change in the Caddyfile.
type edgeOptions struct {
	memory    string  // budget; "" is the default
	servers   string  // lines of the servers option
	baselines []int64 // sizes of the bodies for which a baseline is served
}

// startEdge starts a server.
func (b *bench) startEdge(ctx context.Context, o edgeOptions) (*edge, error) {
	s, err := b.startSites(ctx, o.sites(b.origin.addr))
	if err != nil {
		return nil, err
	}
	e := &edge{sites: s, cache: s.addrs[0], baseline: make(map[int64]string)}
	for i, size := range o.baselines {
		e.baseline[size] = s.addrs[1+i]
	}
	return e, nil
}

// sites returns the sites in front of an origin: the cache, then the baselines.
func (o *edgeOptions) sites(origin string) siteOptions {
	s := siteOptions{name: "edge", sites: []string{fmt.Sprintf("\tedge_cache\n\treverse_proxy %s\n", origin)}}
	if o.memory != "" {
		s.global += fmt.Sprintf("\tedge {\n\t\tmemory %s\n\t}\n", o.memory)
	}
	if o.servers != "" {
		s.global += fmt.Sprintf("\tservers {\n%s\n\t}\n", o.servers)
	}
	for _, size := range o.baselines {
		s.sites = append(s.sites, fmt.Sprintf("\tbench_baseline %d\n\treverse_proxy %s\n", size, origin))
	}
	return s
}
