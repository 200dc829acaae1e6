package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sites is a server under test whose sites listen on loopback, each at a port of
// its own.
type sites struct {
	*process
	admin   *admin
	addrs   []string // of the sites, in their order
	starter func() (*process, error)
}

// siteOptions describe a server.
type siteOptions struct {
	name   string   // of the process
	global string   // lines of global options
	tls    string   // directive of sites with TLS, for localhost; "" is none
	sites  []string // the directives of each site, whole lines
}

// trustLoopback are global options that have X-Forwarded-For tell who a client
// of the benchmarks is.
const trustLoopback = "\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t}\n"

// startSites starts a server and waits until all its sites accept connections.
func (b *bench) startSites(ctx context.Context, o siteOptions) (*sites, error) {
	addrs, err := freeAddrs(1 + len(o.sites))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, o.name+"-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(o.caddyfile(addrs[0], addrs[1:])), 0o600); err != nil {
		return nil, err
	}
	s := &sites{admin: newAdmin(addrs[0]), addrs: addrs[1:], starter: func() (*process, error) {
		return startProcess(o.name, dir, []string{"XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir},
			b.server, "run", "--config", file, "--adapter", "caddyfile")
	}}
	if s.process, err = s.starter(); err != nil {
		return nil, err
	}
	if err := s.await(ctx, addrs...); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// startAgain starts the server again, which has ended, at the same addresses. It waits for
// nothing.
func (s *sites) startAgain() (err error) {
	s.admin.close()
	s.process, err = s.starter()
	return err
}

// close stops the server.
func (s *sites) close() {
	s.admin.close()
	s.stop()
}

// caddyfile returns the configuration with an admin endpoint, and sites at addrs.
func (o *siteOptions) caddyfile(admin string, addrs []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "{\n\tadmin %s\n\tpersist_config off\n\tauto_https off\n\tlog {\n\t\tlevel WARN\n\t}\n%s}\n", admin, o.global)
	for i, directives := range o.sites {
		_, port, _ := strings.Cut(addrs[i], ":")
		address := "http://:"
		if o.tls != "" {
			address = "https://localhost:"
			directives = "\t" + o.tls + "\n" + directives
		}
		fmt.Fprintf(&text, "%s%s {\n\tbind 127.0.0.1\n%s}\n", address, port, directives)
	}
	return text.String()
}
