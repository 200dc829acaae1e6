package edgewaf

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/access"
)

// Access says whose requests are refused. The client is the one that Caddy determined: a
// header counts only from trusted proxies, and is worth something only with
// trusted_proxies_strict. Who is allowed is not looked at further, so
// that an exception needs no hole in a list of the denied; then comes who is denied.
type Access struct {
	// Allow names clients that are allowed. Default: none.
	Allow *Clients `json:"allow,omitempty"`
	// Deny names clients that are refused, unless they are allowed. Default: none.
	Deny *Clients `json:"deny,omitempty"`
	// Otherwise is for clients that nothing names, and for requests without an address:
	// "allow" or "deny". Default: allow.
	Otherwise string `json:"otherwise,omitempty"`
	// ASNDatabase and CountryDatabase are files in MaxMind's format (version 2), which
	// is also that of others. Default: none.
	ASNDatabase     string `json:"asn_database,omitempty"`
	CountryDatabase string `json:"country_database,omitempty"`
	// Refresh is how often files are looked at, at least 100ms. Default: 10s.
	Refresh caddy.Duration `json:"refresh,omitempty"`
}

// Clients names clients in several ways. One is enough.
type Clients struct {
	// Addresses are addresses and CIDRs.
	Addresses []string `json:"addresses,omitempty"`
	// Files are lists of those: one on a line, comments behind "#" or ";".
	Files []string `json:"files,omitempty"`
	// ASNs are numbers of autonomous systems. They need ASNDatabase.
	ASNs []uint32 `json:"asns,omitempty"`
	// Countries are ISO 3166-1 codes of two letters. They need CountryDatabase.
	Countries []string `json:"countries,omitempty"`
}

// Values of Access.Otherwise.
const (
	OtherwiseAllow = "allow"
	OtherwiseDeny  = "deny"
)

// DefaultRefresh and minRefresh are the default and the least of Access.Refresh.
const (
	DefaultRefresh = 10 * time.Second
	minRefresh     = 100 * time.Millisecond
)

// provisionAccess checks the access lists and reads their files.
func (g *Guard) provisionAccess() error {
	a := &g.Access
	switch a.Otherwise {
	case "":
		a.Otherwise = OtherwiseAllow
	case OtherwiseAllow, OtherwiseDeny:
	default:
		return fmt.Errorf("edge_guard: otherwise: unknown value %q: want allow or deny", a.Otherwise)
	}
	if a.Refresh == 0 {
		a.Refresh = caddy.Duration(DefaultRefresh)
	}
	if time.Duration(a.Refresh) < minRefresh {
		return fmt.Errorf("edge_guard: refresh: invalid value %s: must be at least %s", time.Duration(a.Refresh), minRefresh)
	}
	p := &access.Policy{DenyOthers: a.Otherwise == OtherwiseDeny}
	var err error
	if p.ASN, err = g.database(kindASN, a.ASNDatabase); err != nil {
		return err
	}
	if p.Country, err = g.database(kindCountry, a.CountryDatabase); err != nil {
		return err
	}
	for _, r := range []struct {
		option  string
		clients *Clients
		rule    *access.Rule
	}{{"allow", a.Allow, &p.Allow}, {"deny", a.Deny, &p.Deny}} {
		if err := g.provisionRule(p, r.clients, r.rule); err != nil {
			return fmt.Errorf("edge_guard: %s: %w", r.option, err)
		}
	}
	if !p.Allow.Empty() && p.Deny.Empty() && !p.DenyOthers {
		return fmt.Errorf("edge_guard: allow: does nothing where nobody is denied: want deny, or otherwise deny")
	}
	if !p.Deny.Empty() || p.DenyOthers {
		g.policy = p
	}
	return nil
}

// provisionRule makes a rule of what the configuration names.
func (g *Guard) provisionRule(p *access.Policy, c *Clients, rule *access.Rule) error {
	if c == nil {
		return nil
	}
	var err error
	if rule.Addresses, err = access.ParsePrefixes(c.Addresses); err != nil {
		return err
	}
	for _, name := range c.Files {
		w, err := g.watch(kindList, name)
		if err != nil {
			return fmt.Errorf("file: %w", err)
		}
		rule.Files = append(rule.Files, w.list)
	}
	if len(c.ASNs) > 0 && p.ASN == nil {
		return fmt.Errorf("asn: %d: needs asn_database", c.ASNs[0])
	}
	if slices.Contains(c.ASNs, 0) {
		return fmt.Errorf("asn: invalid ASN 0")
	}
	rule.ASNs = c.ASNs
	if len(c.Countries) > 0 && p.Country == nil {
		return fmt.Errorf("country: %s: needs country_database", c.Countries[0])
	}
	for _, s := range c.Countries {
		code, err := access.ParseCountry(s)
		if err != nil {
			return fmt.Errorf("country: %w", err)
		}
		rule.Countries = append(rule.Countries, code)
	}
	return nil
}

// database opens a database if one is named.
func (g *Guard) database(kind, name string) (*access.File[*access.Database], error) {
	if name == "" {
		return nil, nil
	}
	w, err := g.watch(kind, name)
	if err != nil {
		return nil, fmt.Errorf("edge_guard: %s: %w", kind, err)
	}
	return w.database, nil
}

// watch takes a file, to be given back by Cleanup.
func (g *Guard) watch(kind, name string) (*watch, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	ref, err := takeWatch(kind, path, time.Duration(g.Refresh))
	if ref != nil {
		g.lists = append(g.lists, ref)
	}
	return ref.Value(), err
}

// errUnverified says that the client is to come again when its address is certain.
var errUnverified = errors.New("the TLS handshake is not complete: the address of the client can't be verified")

// unverified reports whether the access lists would decide about an address that anybody
// can pretend to have: early data comes before the handshake has shown that there is
// somebody at the address (RFC 8446 section 8, RFC 8470). Caddy's own matchers do the same.
func (v *visit) unverified() bool {
	return v.guard.policy != nil && v.r.TLS != nil && !v.r.TLS.HandshakeComplete && v.level(checkAccess) != levelOff
}

// warnOfAddress says once for each configuration that clients may choose their address:
// unless trusted_proxies_strict is set Caddy takes the first address of X-Forwarded-For,
// and proxies append theirs to what the client sent.
func (v *visit) warnOfAddress() {
	g := v.guard
	if g.warned.Load() || !v.trusted() {
		return
	}
	if s, ok := v.r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && s.TrustedProxiesStrict == 0 && g.warned.CompareAndSwap(false, true) {
		g.logger.Warn("clients may choose the address by which access lists decide: trusted_proxies without trusted_proxies_strict takes the first one of X-Forwarded-For",
			zap.String("guard", g.Name))
	}
}
