package edgebreaker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// UpstreamRules say which addresses the upstreams of a proxy may have, so that a
// mistake in a configuration, or a name that somebody else controls, does not turn
// the edge into a way to inner services.
type UpstreamRules struct {
	// Deny are the kinds that are refused: "loopback", "private", "link_local",
	// "metadata" (the services of clouds that tell machines their secrets) or "all".
	// Default: none.
	Deny []string `json:"deny,omitempty"`
	// AllowLoopback allows loopback addresses and Unix sockets nevertheless, for
	// development. Default: false.
	AllowLoopback bool `json:"allow_loopback,omitempty"`
	// Pin dials the addresses that were checked, instead of resolving the name
	// again. Default: false.
	Pin bool `json:"pin,omitempty"`
}

// Limits of resolving.
const (
	resolveAtLoad = 10 * time.Second // all names of a proxy
	resolveAtRun  = 2 * time.Second  // one name, for a request
	verdictFor    = 30 * time.Second // how long it holds
	mostVerdicts  = 1024
)

// guard checks addresses. The nil guard allows all.
type guard struct {
	denied   class
	pin      bool
	resolver *net.Resolver

	mu       sync.Mutex
	verdicts map[string]verdict
}

// verdict is what is known of an address.
type verdict struct {
	pinned string
	named  bool // a name was resolved
	err    error
	until  time.Time // zero: for as long as the config runs
}

func newGuard(rules *UpstreamRules) (*guard, error) {
	if rules == nil {
		return nil, nil
	}
	g := &guard{pin: rules.Pin, resolver: net.DefaultResolver, verdicts: make(map[string]verdict)}
	for _, word := range rules.Deny {
		c, ok := classNames[word]
		if !ok {
			return nil, fmt.Errorf("deny: unknown kind %q: want loopback, private, link_local, metadata or all", word)
		}
		g.denied |= c
	}
	if rules.AllowLoopback {
		if g.denied&classLoopback == 0 {
			return nil, errors.New("allow_loopback: loopback is not denied")
		}
		g.denied &^= classLoopback
	}
	return g, nil
}

// checkProxy checks the upstreams of a proxy when a config is loaded. A name that is
// not known yet is no reason not to start, since it is checked before it is dialled:
// those are told to warn.
func (g *guard) checkProxy(h *reverseproxy.Handler, warn func(error)) error {
	if g == nil {
		return nil
	}
	if t, ok := h.Transport.(*reverseproxy.HTTPTransport); ok {
		if g.pin && t.TLS != nil && t.TLS.ServerName == "" {
			return errors.New("pin: the TLS name would become an address: set tls_server_name, or leave pin out")
		}
		if t.Resolver != nil {
			g.resolver = resolverOf(t.Resolver.Addresses)
		}
	} else if tls, ok := h.Transport.(reverseproxy.TLSTransport); g.pin && ok && tls.TLSEnabled() {
		return fmt.Errorf("pin: not with the transport %T and TLS", h.Transport)
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveAtLoad)
	defer cancel()
	for _, u := range h.Upstreams {
		if strings.Contains(u.Dial, "{") {
			continue // known at run time
		}
		address := addressOf(u.Dial)
		if address == "" {
			return fmt.Errorf("invalid address %q", u.Dial)
		}
		v := g.check(ctx, address)
		switch {
		case v.err == nil && (g.pin || !v.named):
			g.keep(address, v, time.Time{})
		case v.err == nil:
			g.keep(address, v, time.Now().Add(verdictFor)) // it may be given another address
		case isType[*net.DNSError](v.err):
			warn(v.err)
		default:
			return v.err
		}
	}
	return nil
}

// resolverOf asks the servers that the transport asks.
func resolverOf(servers []string) *net.Resolver {
	var turn int
	var mu sync.Mutex
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		mu.Lock()
		server := servers[turn%len(servers)]
		turn++
		mu.Unlock()
		a, err := caddy.ParseNetworkAddressWithDefaults(server, "udp", 53)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, a.Network, a.JoinHostPort(0))
	}}
}

// allow reports whether an address may be dialled, and what is dialled in its place
// if that is another one. It waits for the resolver when the name is new.
func (g *guard) allow(ctx context.Context, address string) (pinned string, ok bool) {
	if g == nil {
		return "", true
	}
	now := time.Now()
	g.mu.Lock()
	v, known := g.verdicts[address]
	g.mu.Unlock()
	if !known || !v.until.IsZero() && now.After(v.until) {
		ctx, cancel := context.WithTimeout(ctx, resolveAtRun)
		defer cancel()
		fresh := g.check(ctx, address)
		if known && v.err == nil && isType[*net.DNSError](fresh.err) {
			fresh = v // a resolver that fails for a while takes no backend out
		}
		v = fresh
		if ctx.Err() == nil || v.err == nil {
			g.keep(address, v, now.Add(verdictFor))
		}
	}
	return v.pinned, v.err == nil
}

// keep remembers a verdict.
func (g *guard) keep(address string, v verdict, until time.Time) {
	v.until = until
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.verdicts) >= mostVerdicts {
		for key, old := range g.verdicts {
			if !old.until.IsZero() {
				delete(g.verdicts, key)
			}
		}
	}
	g.verdicts[strings.Clone(address)] = v
}

// check looks an address up.
func (g *guard) check(ctx context.Context, address string) (v verdict) {
	a, err := caddy.ParseNetworkAddress(address)
	switch {
	case err != nil:
		return verdict{err: err}
	case a.IsUnixNetwork() || a.IsFdNetwork():
		if g.denied&classLoopback != 0 {
			v.err = fmt.Errorf("%s is a socket of this machine, which %s", address, g)
		}
		return v
	case strings.ContainsAny(a.Host, "@/?#\\"):
		return verdict{err: fmt.Errorf("%q has more than a host and a port: no user, scheme or path is allowed", address)}
	}
	host := strings.Trim(a.Host, "[]")
	var addrs []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{literal}
	} else if host == "" {
		addrs = []netip.Addr{netip.IPv6Unspecified()} // this machine
	} else if numeric(host) {
		return verdict{err: fmt.Errorf("%q is no host name, and an address in no common form", host)}
	} else if addrs, err = g.resolver.LookupNetIP(ctx, "ip", host); err != nil {
		return verdict{err: fmt.Errorf("resolving %s: %w", host, err)}
	} else {
		v.named = true
	}
	for _, addr := range addrs {
		if c := classOf(addr) & g.denied; c != 0 {
			return verdict{err: fmt.Errorf("%s has the address %s, of the kind %s, which %s", address, addr, c, g)}
		}
	}
	if g.pin {
		slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
		v.pinned = caddy.JoinNetworkAddress(a.Network, addrs[0].Unmap().String(), fmt.Sprint(a.StartPort))
	}
	return v
}

// String tells what is denied.
func (g *guard) String() string { return "upstreams deny " + g.denied.String() + " forbids" }
