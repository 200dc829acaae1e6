package access

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// MaxListSize is the most that a list file may have, in bytes, and MaxEntries how
// many entries.
const (
	MaxListSize = 256 << 20
	MaxEntries  = 8 << 20
)

// ParsePrefix reads an address or a CIDR. IPv4 addresses must be written as such,
// and zones are refused.
func ParsePrefix(s string) (netip.Prefix, error) {
	var p netip.Prefix
	if strings.Contains(s, "/") {
		var err error
		if p, err = netip.ParsePrefix(s); err != nil {
			return p, fmt.Errorf("invalid address or CIDR %q", shorten(s))
		}
	} else {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return p, fmt.Errorf("invalid address or CIDR %q", shorten(s))
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("invalid address or CIDR %q: write IPv4 addresses as such", s)
	}
	return p.Masked(), nil
}

// ParsePrefixes makes a set of addresses and CIDRs.
func ParsePrefixes(list []string) (*Set, error) {
	var b Builder
	for _, s := range list {
		p, err := ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		b.Add(p)
	}
	return b.Set(), nil
}

// ParseList reads a list: an address or CIDR on each line, and comments behind "#" or
// ";". Errors name the line. A text without any line is an error, since it is more
// likely a file that is just being written than a list of nobody; one of comments
// alone is an empty list.
func ParseList(text []byte) (*Set, error) {
	if len(text) > MaxListSize {
		return nil, fmt.Errorf("%d bytes are more than %d", len(text), MaxListSize)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("line 1: is empty: an empty list needs a comment")
	}
	var b Builder
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if i := bytes.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		p, err := ParsePrefix(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if b.Len() == MaxEntries {
			return nil, fmt.Errorf("line %d: more than %d entries", number, MaxEntries)
		}
		b.Add(p)
	}
	return b.Set(), nil
}

// shorten keeps the text of an error readable.
func shorten(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
