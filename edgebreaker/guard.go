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
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
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

// guard checks addresses, and remembers what it found (verdicts.go). The nil guard
// allows all.
type guard struct {
	denied   class
	pin      bool
	resolver resolver
	logger   *zap.Logger
	notice   atomic.Int64 // when a refusal was last logged

	ctx     context.Context // of the lookups
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	known   map[string]verdict
	lookups map[string]*lookup
}

// resolver is a net.Resolver.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

func newGuard(rules *UpstreamRules, logger *zap.Logger) (*guard, error) {
	if rules == nil {
		return nil, nil
	}
	g := &guard{pin: rules.Pin, resolver: net.DefaultResolver, logger: logger, known: make(map[string]verdict), lookups: make(map[string]*lookup)}
	g.ctx, g.end = context.WithCancel(context.Background())
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
			g.keep(address, v, 0)
		case v.err == nil:
			g.keep(address, v, verdictFor) // it may be given another address
		case isType[*net.DNSError](v.err):
			warn(v.err)
			g.keep(address, v, failureFor) // so that the first requests wait for it no more
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

// check looks an address up.
func (g *guard) check(ctx context.Context, address string) verdict {
	v, host, a := g.read(address)
	if host == "" {
		return v
	}
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return verdict{err: fmt.Errorf("resolving %s: %w", host, err)}
	}
	v = g.judge(address, a, addrs)
	v.named = true
	return v
}

// read judges an address as far as that goes without asking anybody. host is not empty
// when it is a name, which has to be resolved.
func (g *guard) read(address string) (v verdict, host string, a caddy.NetworkAddress) {
	a, err := caddy.ParseNetworkAddress(address)
	switch {
	case err != nil:
		return verdict{err: err}, "", a
	case a.IsUnixNetwork() || a.IsFdNetwork():
		if g.denied&classLoopback != 0 {
			v.err = &deniedError{upstream: address, kind: classLoopback, rules: g.denied}
		}
		return v, "", a
	case strings.ContainsAny(a.Host, "@/?#\\"):
		return verdict{err: fmt.Errorf("%q has more than a host and a port: no user, scheme or path is allowed", address)}, "", a
	}
	host = strings.Trim(a.Host, "[]")
	if literal, err := netip.ParseAddr(host); err == nil {
		return g.judge(address, a, []netip.Addr{literal}), "", a
	}
	switch {
	case host == "":
		return g.judge(address, a, []netip.Addr{netip.IPv6Unspecified()}), "", a // this machine
	case numeric(host):
		return verdict{err: fmt.Errorf("%q is no host name, and an address in no common form", host)}, "", a
	}
	return v, host, a
}

// judge returns what the addresses of an upstream say of it.
func (g *guard) judge(address string, a caddy.NetworkAddress, addrs []netip.Addr) (v verdict) {
	for _, addr := range addrs {
		if c := classOf(addr) & g.denied; c != 0 {
			return verdict{err: &deniedError{upstream: address, address: addr, kind: c, rules: g.denied}}
		}
	}
	if g.pin {
		slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
		v.pinned = caddy.JoinNetworkAddress(a.Network, addrs[0].Unmap().String(), fmt.Sprint(a.StartPort))
	}
	return v
}

// deniedError is that an upstream has an address which the rules forbid.
type deniedError struct {
	upstream string
	address  netip.Addr // invalid: the upstream is a socket
	kind     class
	rules    class
}

func (e *deniedError) Error() string {
	rules := "which upstreams deny " + e.rules.String() + " forbids"
	if !e.address.IsValid() {
		return e.upstream + " is a socket of this machine, " + rules
	}
	return fmt.Sprintf("%s has the address %s, of the kind %s, %s", e.upstream, e.address, e.kind, rules)
}
