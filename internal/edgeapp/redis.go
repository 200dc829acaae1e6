package edgeapp

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Redis says how to reach the Redis or Valkey server that the nodes of an edge
// share.
type Redis struct {
	// Addresses are host:port. Several are nodes of one Redis Cluster.
	Addresses []string `json:"addresses,omitempty"`
	// Username and Password log in; global placeholders such as {env.NAME} and
	// {file./path} are replaced. Default: none.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// DB is the number of the database. Default: 0, the only one of a Redis
	// Cluster.
	DB int `json:"db,omitempty"`
	// TLS encrypts the connection. Default: false.
	TLS bool `json:"tls,omitempty"`
	// CA is a file of certificates, in PEM, that the server's must lead to.
	// Default: the system's.
	CA string `json:"ca,omitempty"`
	// ServerName is the name in the server's certificate. Default: the host of
	// the address.
	ServerName string `json:"server_name,omitempty"`
	// Prefix begins all keys on the server. Nodes with one prefix belong
	// together. Default: edge:
	Prefix string `json:"prefix,omitempty"`
	// Secret is mixed into the hashes of clients' keys, so that who can read
	// the server can't try addresses out; the same on all nodes. Placeholders
	// are replaced. Default: none.
	Secret string `json:"secret,omitempty"`
	// Interval is the time between two rounds of exchange. Default: 100ms.
	Interval caddy.Duration `json:"interval,omitempty"`
	// Timeout bounds each exchange. Default: 500ms.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// OnError says what holds while the server can't be reached: "local" each
	// node's share of a limit, "open" no limit, "closed" nothing passes.
	// Default: local.
	OnError string `json:"on_error,omitempty"`
}

// DefaultRedisPrefix begins the keys of configs that name no other prefix.
const DefaultRedisPrefix = "edge:"

// provision replaces placeholders.
func (r *Redis) provision(repl *caddy.Replacer) error {
	for name, value := range map[string]*string{"username": &r.Username, "password": &r.Password, "secret": &r.Secret} {
		replaced, err := repl.ReplaceOrErr(*value, true, true)
		if err != nil {
			return fmt.Errorf("redis: %s: %w", name, err)
		}
		*value = replaced
	}
	if r.Prefix == "" {
		r.Prefix = DefaultRedisPrefix
	}
	return r.validate()
}

func (r *Redis) validate() error {
	if len(r.Addresses) == 0 {
		return fmt.Errorf("redis: no address")
	}
	for i, a := range r.Addresses {
		// One in the form of a URL may hold a password: it is not repeated.
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" || strings.ContainsAny(a, "/@") {
			return fmt.Errorf("redis: address %d: must be host:port", i+1)
		}
	}
	between := func(d caddy.Duration, least, most time.Duration) bool {
		return d == 0 || time.Duration(d) >= least && time.Duration(d) <= most
	}
	switch {
	case !r.TLS && (r.CA != "" || r.ServerName != ""):
		return fmt.Errorf("redis: ca and server_name need tls")
	case strings.ContainsAny(r.Prefix, "{}"):
		return fmt.Errorf("redis: prefix %q: must not contain braces", r.Prefix)
	case r.DB < 0:
		return fmt.Errorf("redis: db %d: must not be negative", r.DB)
	case !between(r.Interval, 10*time.Millisecond, 10*time.Second):
		return fmt.Errorf("redis: interval %s: must be from 10ms to 10s", time.Duration(r.Interval))
	case !between(r.Timeout, time.Millisecond, time.Minute):
		return fmt.Errorf("redis: timeout %s: must be from 1ms to 1m", time.Duration(r.Timeout))
	}
	switch r.OnError {
	case "", "local", "open", "closed":
		return nil
	}
	return fmt.Errorf("redis: on_error %q: must be local, open or closed", r.OnError)
}

// TLSConfig returns the TLS settings, nil when TLS is off.
func (r *Redis) TLSConfig() (*tls.Config, error) {
	if !r.TLS {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.ServerName}
	if r.CA == "" {
		return c, nil
	}
	text, err := os.ReadFile(r.CA)
	if err != nil {
		return nil, fmt.Errorf("redis: ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("redis: ca: %s holds no certificate", r.CA)
	}
	return c, nil
}
