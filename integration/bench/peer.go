package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// proxy is a cache in front of the origin: the edge, or a peer it is compared
// with.
type proxy struct {
	*process
	addr string
}

// peers start the other caches that may be installed.
var peers = []func(ctx context.Context, dir, addr, origin string) (*process, error){startNginx, startVarnish}

// rivals are the edge and the peers that are installed, all in front of the same
// origin.
type rivals struct {
	edge  *edge
	peers []proxy
}

// startRivals starts all.
func (b *bench) startRivals(ctx context.Context, o edgeOptions) (*rivals, error) {
	e, err := b.startEdge(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &rivals{edge: e}
	for _, start := range peers {
		if err := b.startPeer(ctx, r, start); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

func (b *bench) startPeer(ctx context.Context, r *rivals, start func(ctx context.Context, dir, addr, origin string) (*process, error)) error {
	addrs, err := freeAddrs(1)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.dir, "peer-")
	if err != nil {
		return err
	}
	p, err := start(ctx, dir, addrs[0], b.origin.addr)
	if err != nil || p == nil {
		return err
	}
	r.peers = append(r.peers, proxy{p, addrs[0]})
	return p.await(ctx, addrs[0])
}

// close stops all.
func (r *rivals) close() {
	for _, p := range r.peers {
		p.stop()
	}
	r.edge.close()
}

// all returns the edge first.
func (r *rivals) all() []proxy {
	return append([]proxy{{r.edge.process, r.edge.cache}}, r.peers...)
}

// installed returns the file of a command, also when it lies where only
// administrators have it on their path; "" when there is none.
func installed(name string) string {
	for _, file := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	return ""
}

// startNginx starts nginx with what its manual has for a cache that collapses
// requests. It returns nil when nginx is not installed.
func startNginx(_ context.Context, dir, addr, origin string) (*process, error) {
	file := installed("nginx")
	if file == "" {
		return nil, nil
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // the directory is not for others
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`%[1]s
daemon off;
worker_processes auto;
error_log stderr crit;
pid %[2]s/nginx.pid;
events { worker_connections 4096; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000000;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	proxy_cache_path %[2]s/cache levels=1:2 keys_zone=bench:64m use_temp_path=off;
	upstream origin { server %[3]s; keepalive 64; }
	server {
		listen %[4]s backlog=4096;
		location / {
			proxy_pass http://origin;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_cache bench;
			proxy_cache_lock on;
			proxy_cache_use_stale updating;
			proxy_cache_background_update on;
		}
	}
}
`, user, dir, origin, addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return startProcess("nginx", dir, nil, file, "-p", dir, "-c", config)
}

// startVarnish starts Varnish with its built-in policy and a store in memory. It
// returns nil when Varnish is not installed.
func startVarnish(_ context.Context, dir, addr, origin string) (*process, error) {
	file := installed("varnishd")
	if file == "" {
		return nil, nil
	}
	// Other users run the compiler and the child process.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		return nil, err
	}
	return startProcess("varnish", dir, nil, file, "-F", "-j", "none", "-n", filepath.Join(dir, "work"),
		"-a", addr, "-b", origin, "-s", "malloc,256m", "-T", "none")
}
