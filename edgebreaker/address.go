package edgebreaker

import (
	"net/netip"
	"strings"
)

// class is a kind of address that upstreams may be forbidden to have.
type class uint8

const (
	classLoopback  class = 1 << iota // this machine
	classPrivate                     // networks that are not routed publicly
	classLinkLocal                   // the link, and multicast
	classMetadata                    // where clouds tell a machine its secrets

	classAll = classLoopback | classPrivate | classLinkLocal | classMetadata
)

// classNames are the words of the configuration.
var classNames = map[string]class{
	"loopback": classLoopback, "private": classPrivate, "link_local": classLinkLocal, "metadata": classMetadata, "all": classAll,
}

// String names the classes in c.
func (c class) String() string {
	var names []string
	for _, name := range []string{"loopback", "private", "link_local", "metadata"} {
		if c&classNames[name] != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

// networks are the classes of prefixes (RFC 6890 and what clouds document).
var networks = []struct {
	prefix netip.Prefix
	class  class
}{
	{netip.MustParsePrefix("127.0.0.0/8"), classLoopback},
	{netip.MustParsePrefix("::1/128"), classLoopback},
	{netip.MustParsePrefix("0.0.0.0/8"), classLoopback}, // connects to this machine
	{netip.MustParsePrefix("::/128"), classLoopback},

	{netip.MustParsePrefix("10.0.0.0/8"), classPrivate},
	{netip.MustParsePrefix("172.16.0.0/12"), classPrivate},
	{netip.MustParsePrefix("192.168.0.0/16"), classPrivate},
	{netip.MustParsePrefix("100.64.0.0/10"), classPrivate}, // shared by carriers
	{netip.MustParsePrefix("192.0.0.0/24"), classPrivate},  // for protocols
	{netip.MustParsePrefix("198.18.0.0/15"), classPrivate}, // for benchmarks
	{netip.MustParsePrefix("240.0.0.0/4"), classPrivate},   // reserved, with the broadcast address
	{netip.MustParsePrefix("fc00::/7"), classPrivate},
	{netip.MustParsePrefix("fec0::/10"), classPrivate}, // once site-local

	{netip.MustParsePrefix("169.254.0.0/16"), classLinkLocal},
	{netip.MustParsePrefix("fe80::/10"), classLinkLocal},
	{netip.MustParsePrefix("224.0.0.0/4"), classLinkLocal},
	{netip.MustParsePrefix("ff00::/8"), classLinkLocal},

	{netip.MustParsePrefix("169.254.169.254/32"), classMetadata}, // most clouds
	{netip.MustParsePrefix("169.254.169.253/32"), classMetadata}, // their resolvers
	{netip.MustParsePrefix("169.254.170.0/24"), classMetadata},   // credentials of containers
	{netip.MustParsePrefix("169.254.0.23/32"), classMetadata},
	{netip.MustParsePrefix("100.100.100.200/32"), classMetadata},
	{netip.MustParsePrefix("168.63.129.16/32"), classMetadata}, // a public address, but of the host
	{netip.MustParsePrefix("192.0.0.192/32"), classMetadata},
	{netip.MustParsePrefix("fd00:ec2::254/128"), classMetadata},
	{netip.MustParsePrefix("fd00:ec2::23/128"), classMetadata},
	{netip.MustParsePrefix("fd20:ce::254/128"), classMetadata},
	{netip.MustParsePrefix("fe80::a9fe:a9fe/128"), classMetadata}, // OpenStack
}

// embedding are the prefixes of addresses that have an IPv4 address inside, with
// its place in bytes.
var embedding = []struct {
	prefix   netip.Prefix
	at       int
	inverted bool
}{
	{netip.MustParsePrefix("::/96"), 12, false},             // IPv4-compatible (RFC 4291 section 2.5.5.1)
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12, false},   // IPv4-translated (RFC 2765)
	{netip.MustParsePrefix("64:ff9b::/96"), 12, false},      // NAT64 (RFC 6052)
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12, false},    // NAT64 of one's own (RFC 8215), if its prefix is a /96
	{netip.MustParsePrefix("2002::/16"), 2, false},          // 6to4 (RFC 3056)
	{netip.MustParsePrefix("2001::/32"), 12, true},          // Teredo (RFC 4380)
	{netip.MustParsePrefix("::ffff:0:0/96"), 12, false},     // IPv4-mapped, as netip may have it
	{netip.MustParsePrefix("fe80::5efe:0:0/96"), 12, false}, // ISATAP (RFC 5214)
}

// classify returns the classes of an address, and of the IPv4 address inside it.
func classOf(a netip.Addr) (c class) {
	a = a.WithZone("").Unmap()
	for _, n := range networks {
		if n.prefix.Contains(a) {
			c |= n.class
		}
	}
	if !a.Is6() {
		return c
	}
	bytes := a.As16()
	for _, e := range embedding {
		if !e.prefix.Contains(a) {
			continue
		}
		inner := [4]byte(bytes[e.at : e.at+4])
		if e.inverted {
			for i := range inner {
				inner[i] ^= 0xff
			}
		}
		c |= classOf(netip.AddrFrom4(inner))
	}
	return c
}

// numeric reports whether a host that is no address may be taken for one: the C
// library reads 0x7f.1, 0177.0.0.1 and 2130706433 as IPv4 addresses. As for URLs
// (WHATWG), a name whose last label is a number is none.
func numeric(host string) bool {
	host = strings.TrimRight(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" {
		return true
	}
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(strings.ToLower(last), "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}
