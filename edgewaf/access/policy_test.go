package access

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/mmdbtest"
)

// file writes content into a file and reads it.
func file[T any](t *testing.T, name string, content []byte, parse func([]byte) (T, error)) *File[T] {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	f := NewFile(path, MaxListSize, parse)
	_, err := f.Refresh(time.Now())
	require.NoError(t, err)
	return f
}

func TestPolicy(t *testing.T) {
	asn := file(t, "asn.mmdb", mmdbtest.Build("Test-ASN", mmdbtest.Networks{
		"198.51.100.0/24": mmdbtest.ASN(64500), "203.0.113.0/25": mmdbtest.ASN(64501), "2001:db8:a::/48": mmdbtest.ASN(64500),
	}), ParseDatabase)
	country := file(t, "country.mmdb", mmdbtest.Build("Test-Country", mmdbtest.Networks{
		"203.0.113.0/24": mmdbtest.Country("de"), "2001:db8::/33": mmdbtest.Country("FR"), "192.0.2.0/24": {"continent": mmdbtest.Record{"code": "EU"}},
	}), ParseDatabase)
	list := file(t, "list.txt", []byte("192.0.2.128/25\n2001:db8:ffff::/48\n"), ParseList)
	p := &Policy{
		Allow:   Rule{Addresses: set(t, "10.1.0.0/16"), ASNs: []uint32{64501}},
		Deny:    Rule{Addresses: set(t, "10.0.0.0/8"), Files: []*File[*Set]{list}, ASNs: []uint32{64500}, Countries: []string{"DE", "FR"}},
		ASN:     asn,
		Country: country,
	}
	for address, want := range map[string]Decision{
		"10.1.2.3":             {Allowed: true, By: "allow", List: "addresses", Entry: "10.1.0.0-10.1.255.255"},
		"::ffff:10.1.2.3":      {Allowed: true, By: "allow", List: "addresses", Entry: "10.1.0.0-10.1.255.255"},
		"10.2.0.0":             {By: "deny", List: "addresses", Entry: "10.0.0.0-10.255.255.255"},
		"192.0.2.128":          {By: "deny", List: "file", File: list.Path(), Entry: "192.0.2.128-192.0.2.255"},
		"2001:db8:ffff::1%en0": {By: "deny", List: "file", File: list.Path(), Entry: "2001:db8:ffff::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		"192.0.2.1":            {Allowed: true, By: "otherwise"}, // known, without a country
		"198.51.100.1":         {By: "deny", List: "asn", Entry: "64500"},
		"2001:db8:a::1":        {By: "deny", List: "asn", Entry: "64500"},
		"203.0.113.127":        {Allowed: true, By: "allow", List: "asn", Entry: "64501"},
		"203.0.113.128":        {By: "deny", List: "country", Entry: "DE"},
		"2001:db8:1::":         {By: "deny", List: "country", Entry: "FR"},
		"8.8.8.8":              {Allowed: true, By: "otherwise"},
		"2001:4860::":          {Allowed: true, By: "otherwise"},
	} {
		a := netip.MustParseAddr(address)
		require.Equal(t, want, p.Explain(a), address)
		require.Equal(t, want.Allowed, p.Decide(a), address)
	}
	n, code := p.Locate(netip.MustParseAddr("203.0.113.1"))
	require.Equal(t, uint32(64501), n)
	require.Equal(t, "DE", code)

	require.True(t, p.Decide(netip.Addr{}), "nobody names what is no address")
	p.DenyOthers = true
	require.False(t, p.Decide(netip.Addr{}))
	require.Equal(t, Decision{By: "otherwise"}, p.Explain(netip.MustParseAddr("8.8.8.8")))
	require.True(t, p.Decide(netip.MustParseAddr("10.1.2.3")))
}

func TestDecideAllocatesNothing(t *testing.T) {
	list := file(t, "list.txt", []byte("192.0.2.128/25\n"), ParseList)
	p := &Policy{Allow: Rule{Addresses: set(t, "10.1.0.0/16")}, Deny: Rule{Files: []*File[*Set]{list}}}
	a := netip.MustParseAddr("192.0.2.200")
	require.Zero(t, testing.AllocsPerRun(100, func() { p.Decide(a) }))
}

func TestParseDatabaseRefuses(t *testing.T) {
	whole := mmdbtest.Build("Test", mmdbtest.Networks{"192.0.2.0/24": mmdbtest.ASN(1), "2001:db8::/32": mmdbtest.ASN(2)})
	_, err := ParseDatabase(whole)
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte("<html>not found</html>"), "cut": whole[:len(whole)/2], "without its beginning": whole[64:],
	} {
		_, err := ParseDatabase(content)
		require.Error(t, err, name)
	}
}

// FuzzParseDatabase wants any database that is taken to answer without a panic.
func FuzzParseDatabase(f *testing.F) {
	f.Add(mmdbtest.Build("Test", mmdbtest.Networks{"192.0.2.0/24": mmdbtest.ASN(1), "2001:db8::/32": mmdbtest.Country("DE")}))
	f.Fuzz(func(t *testing.T, content []byte) {
		db, err := ParseDatabase(content)
		if err != nil {
			require.Nil(t, db)
			return
		}
		for _, a := range []string{"192.0.2.1", "2001:db8::1", "255.255.255.255"} {
			db.ASN(netip.MustParseAddr(a))
			db.Country(netip.MustParseAddr(a))
		}
	})
}
