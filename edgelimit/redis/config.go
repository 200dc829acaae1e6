package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Defaults of a [Config].
const (
	DefaultPrefix   = "edge:limit:"
	DefaultInterval = 100 * time.Millisecond
	DefaultTimeout  = 500 * time.Millisecond
)

// OnError says what holds while the server cannot be reached.
type OnError string

// The values of [OnError].
const (
	Local  OnError = "local"  // each node holds its share of the limit
	Open   OnError = "open"   // there is no limit
	Closed OnError = "closed" // everything is refused
)

// Config says how to reach the server. The zero value lacks addresses.
type Config struct {
	// Addresses are host:port. With several, they are nodes of one Redis Cluster.
	Addresses []string
	// Username and Password log in; empty means the default user, or no login.
	// Neither appears in errors or figures.
	Username string
	Password string
	// TLS turns TLS on. Nil means plain TCP.
	TLS *tls.Config
	// DB is the number of the database. A Redis Cluster has only 0.
	DB int
	// Prefix begins all keys. Empty means DefaultPrefix. Nodes with the same
	// prefix share their limits. It must not contain braces.
	Prefix string
	// Secret is mixed into the hashes of the clients, so that who can read the
	// server cannot find out by trial which addresses are there. It must be the
	// same on all nodes. Empty means none.
	Secret string
	// Interval is the time between two rounds. Zero means DefaultInterval; else
	// from 10 ms to 10 s. Longer saves load on the server and makes everything
	// coarser.
	Interval time.Duration
	// Timeout bounds a round, and the making of a connection. Zero means
	// DefaultTimeout; else from 1 ms to 1 minute.
	Timeout time.Duration
	// OnError says what holds while the server cannot be reached. Empty means
	// Local. Before the first attempt has come to an end it is always Local.
	OnError OnError
	// Keys bounds the clients of which each zone keeps an account, at about 250
	// bytes per client. Zero means 65536; else at least 64.
	Keys int
}

// withDefaults returns a copy with the defaults filled in, or says what is wrong.
func (c Config) withDefaults() (Config, error) {
	if len(c.Addresses) == 0 {
		return c, errors.New("no address of a Redis server")
	}
	for i, a := range c.Addresses {
		// An address in the form of a URL may hold a password: it is not repeated.
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" || strings.ContainsAny(a, "/@") {
			return c, fmt.Errorf("address %d of the Redis server: must be host:port", i+1)
		}
	}
	c.Addresses = append([]string(nil), c.Addresses...)
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.OnError == "" {
		c.OnError = Local
	}
	switch {
	case strings.ContainsAny(c.Prefix, "{}"):
		return c, fmt.Errorf("prefix %q: must not contain braces", c.Prefix)
	case c.DB < 0:
		return c, fmt.Errorf("database %d: must not be negative", c.DB)
	case c.Interval < 10*time.Millisecond || c.Interval > 10*time.Second:
		return c, fmt.Errorf("interval %s: must be from 10ms to 10s", c.Interval)
	case c.Timeout < time.Millisecond || c.Timeout > time.Minute:
		return c, fmt.Errorf("timeout %s: must be from 1ms to 1m", c.Timeout)
	case c.OnError != Local && c.OnError != Open && c.OnError != Closed:
		return c, fmt.Errorf("on_error %q: must be local, open or closed", string(c.OnError))
	case c.Keys != 0 && c.Keys < 64:
		return c, fmt.Errorf("keys %d: must be 0 or at least 64", c.Keys)
	}
	return c, nil
}
