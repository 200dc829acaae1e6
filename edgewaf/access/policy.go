package access

import (
	"net/netip"
	"slices"
	"strconv"
)

// Rule names clients in one or more ways. The zero value names nobody.
type Rule struct {
	// Addresses are given in the configuration.
	Addresses *Set
	// Files are list files, in their order.
	Files []*File[*Set]
	// ASNs and Countries need a database.
	ASNs      []uint32
	Countries []string
}

// Empty reports whether the rule can't name anybody.
func (r *Rule) Empty() bool {
	return r.Addresses.Len() == 0 && len(r.Files) == 0 && len(r.ASNs) == 0 && len(r.Countries) == 0
}

// Policy decides about addresses: who is allowed comes in, though he be denied too;
// who is denied does not; all others do unless DenyOthers is set.
type Policy struct {
	Allow, Deny Rule
	DenyOthers  bool
	// ASN and Country are the databases, nil if there are none.
	ASN, Country *File[*Database]
}

// Decision is what a policy says of an address.
type Decision struct {
	Allowed bool
	// By is what decided: "allow" or "deny", or "otherwise" for an address that
	// nothing names.
	By string
	// List is the kind of list that named the address: "addresses", "file", "asn" or
	// "country".
	List string
	// Entry is the range of addresses, the network or the country.
	Entry string
	// File is the list file.
	File string
}

// Decide decides about an address. An invalid one is named by nothing. It allocates
// nothing unless a database is asked.
func (p *Policy) Decide(a netip.Addr) bool {
	if a.IsValid() {
		a = a.Unmap().WithZone("")
		var l located
		if p.Allow.names(p, a, &l, nil) {
			return true
		}
		if p.Deny.names(p, a, &l, nil) {
			return false
		}
	}
	return !p.DenyOthers
}

// Explain is Decide with the reason.
func (p *Policy) Explain(a netip.Addr) Decision {
	if a.IsValid() {
		a = a.Unmap().WithZone("")
		var l located
		d := Decision{Allowed: true, By: "allow"}
		if p.Allow.names(p, a, &l, &d) {
			return d
		}
		d = Decision{By: "deny"}
		if p.Deny.names(p, a, &l, &d) {
			return d
		}
	}
	return Decision{Allowed: !p.DenyOthers, By: "otherwise"}
}

// Locate returns what the databases know of an address.
func (p *Policy) Locate(a netip.Addr) (asn uint32, country string) {
	var l located
	a = a.Unmap().WithZone("")
	return l.asnOf(p, a), l.countryOf(p, a)
}

// names reports whether the rule names an address, and how.
func (r *Rule) names(p *Policy, a netip.Addr, l *located, d *Decision) bool {
	if r.Addresses.Contains(a) {
		d.found("addresses", "", r.Addresses, a)
		return true
	}
	for _, f := range r.Files {
		if set, ok := f.Get(); ok && set.Contains(a) {
			d.found("file", f.Path(), set, a)
			return true
		}
	}
	if len(r.ASNs) > 0 {
		if n := l.asnOf(p, a); n != 0 && slices.Contains(r.ASNs, n) {
			if d != nil {
				d.List, d.Entry = "asn", strconv.FormatUint(uint64(n), 10)
			}
			return true
		}
	}
	if len(r.Countries) > 0 {
		if code := l.countryOf(p, a); code != "" && slices.Contains(r.Countries, code) {
			if d != nil {
				d.List, d.Entry = "country", code
			}
			return true
		}
	}
	return false
}

func (d *Decision) found(list, file string, set *Set, a netip.Addr) {
	if d == nil {
		return
	}
	d.List, d.File = list, file
	from, to, _ := set.Find(a)
	if d.Entry = from.String(); from != to {
		d.Entry += "-" + to.String()
	}
}

// located holds what the databases said of one address.
type located struct {
	hasASN, hasCountry bool
	asn                uint32
	country            string
}

func (l *located) asnOf(p *Policy, a netip.Addr) uint32 {
	if !l.hasASN && p.ASN != nil {
		db, _ := p.ASN.Get()
		l.hasASN, l.asn = true, db.ASN(a)
	}
	return l.asn
}

func (l *located) countryOf(p *Policy, a netip.Addr) string {
	if !l.hasCountry && p.Country != nil {
		db, _ := p.Country.Get()
		l.hasCountry, l.country = true, db.Country(a)
	}
	return l.country
}
