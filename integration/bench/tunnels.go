package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The backends that agents may serve.
const (
	appBackend   = "app"
	lanesBackend = "lanes" // over connections of its own
)

// tunnel is an edge that agents connect to, at its first site. All sites have TLS.
type tunnel struct {
	*sites
	tls    *tls.Config // of clients and agents
	server string
	dir    string
	line   string // of the sites' certificate
	ca     string // file
	token  string // file
	hash   string // of the token's secret
	agents []*process
}

// newTunnel makes what sites and agents need.
func (b *bench) newTunnel(ctx context.Context) (*tunnel, error) {
	roots, line, err := b.certificate()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "tunnel-")
	if err != nil {
		return nil, err
	}
	t := &tunnel{
		tls: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}, server: b.server, dir: dir,
		line: line, ca: line[strings.LastIndexByte(line, ' ')+1:], token: filepath.Join(dir, "token"),
	}
	cmd := exec.CommandContext(ctx, b.server, "edge", "tunnel", "token", "home", "--backend", appBackend, "--backend", lanesBackend) //nolint:gosec // our own build
	var lines strings.Builder
	cmd.Stderr = &lines
	token, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("making a token: %w\n%s", err, lines.String())
	}
	words := strings.Fields(lines.String())
	i := slices.Index(words, "token")
	if i < 0 || i+2 >= len(words) {
		return nil, fmt.Errorf("making a token: no line for the edge in %q", lines.String())
	}
	t.hash = words[i+2]
	return t, os.WriteFile(t.token, token, 0o600)
}

// site returns a site whose requests go to the agents of a backend.
func (t *tunnel) site(backend, proxy string) string {
	return fmt.Sprintf("\tedge_tunnel {\n\t\ttoken home %s %s %s\n\t}\n\treverse_proxy {\n\t\tdynamic edge_tunnel %s {\n\t\t\twait 5s\n\t\t}\n\t\ttransport edge_tunnel\n\t\tlb_retries 3\n%s\t}\n",
		t.hash, appBackend, lanesBackend, backend, proxy)
}

// directSite returns the same site in front of the backend itself.
func directSite(addr, proxy string) string {
	return fmt.Sprintf("\treverse_proxy %s {\n\t\tlb_retries 3\n%s\t}\n", addr, proxy)
}

// start starts the edge.
func (t *tunnel) start(ctx context.Context, b *bench, sites ...string) (err error) {
	t.sites, err = b.startSites(ctx, t.options(sites...))
	return err
}

func (t *tunnel) options(sites ...string) siteOptions {
	return siteOptions{name: "edge", tls: t.line, sites: sites}
}

// agentOptions are those of an agent.
type agentOptions struct {
	name    string
	backend string // "" is app
	to      string // its address
	edge    string // address that the agent connects to; "" is that of the edge
	flags   []string
}

// startAgent starts an agent and waits until it serves.
func (t *tunnel) startAgent(ctx context.Context, o agentOptions) (*process, error) {
	if o.edge == "" {
		o.edge = t.addrs[0]
	}
	if o.backend == "" {
		o.backend = appBackend
	}
	_, port, err := net.SplitHostPort(o.edge)
	if err != nil {
		return nil, err
	}
	args := append([]string{
		t.server, "edge", "agent", "--edge", "https://localhost:" + port, "--backend", o.backend, "--to", o.to,
		"--name", o.name, "--token-file", t.token, "--ca", t.ca,
	}, o.flags...)
	p, err := startProcess(o.name, t.dir, nil, args...)
	if err != nil {
		return nil, err
	}
	t.agents = append(t.agents, p)
	_, err = t.awaitAgent(ctx, o.name)
	if err != nil {
		return nil, p.failure(err)
	}
	return p, nil
}

// awaitAgent returns when an agent serves a backend.
func (t *tunnel) awaitAgent(ctx context.Context, name string) (a agentState, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		agents, err := t.admin.agents(ctx)
		if err == nil && agents[name].serves() {
			return agents[name], nil
		}
		if !sleepUntil(ctx, time.Now().Add(pollPause)) {
			return a, fmt.Errorf("waiting for agent %s: %w", name, ctx.Err())
		}
	}
}

// close ends the agents and the edge.
func (t *tunnel) close() {
	for _, a := range t.agents {
		a.kill()
	}
	if t.sites != nil {
		t.sites.close()
	}
}

// connect opens connections of clients to a site.
func (t *tunnel) connect(ctx context.Context, site, n int, limit time.Duration) ([]*client, error) {
	return (&load{addr: t.addrs[site], clients: n, tls: t.tls}).connect(ctx, limit)
}
