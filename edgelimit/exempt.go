package edgelimit

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gaissmai/bart"
)

// exemption is who a zone does not concern. The zero value exempts nobody.
type exemption struct {
	prefixes *bart.Lite
	matchers caddyhttp.MatcherSets
}

// newPrefixes parses addresses and CIDRs.
func newPrefixes(list []string) (*bart.Lite, error) {
	if len(list) == 0 {
		return nil, nil
	}
	t := new(bart.Lite)
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, addrErr := netip.ParseAddr(s)
			if addrErr != nil || a.Zone() != "" {
				return nil, fmt.Errorf("invalid address or CIDR %q", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("invalid CIDR %q: write IPv4 addresses as such", s)
		}
		t.Insert(p.Masked())
	}
	return t, nil
}

// covers reports whether a request is exempt. The client's address is the one
// that Caddy determined: a header counts only from trusted proxies.
func (e *exemption) covers(r *http.Request) (bool, error) {
	if e.prefixes != nil {
		if a := clientAddr(r); a.IsValid() && e.prefixes.Contains(a) {
			return true, nil
		}
	}
	if len(e.matchers) > 0 {
		return e.matchers.AnyMatchWithError(r)
	}
	return false, nil
}
