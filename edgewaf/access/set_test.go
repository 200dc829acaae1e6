package access

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func set(t require.TestingT, list ...string) *Set {
	s, err := ParsePrefixes(list)
	require.NoError(t, err)
	return s
}

func TestSetContains(t *testing.T) {
	s := set(t, "10.0.0.0/8", "192.0.2.7", "192.0.2.8", "203.0.113.0/24", "255.255.255.255", "2001:db8::/32", "2001:db8:5::1", "::1", "fd00::/8")
	for _, in := range []string{
		"10.0.0.0", "10.255.255.255", "192.0.2.7", "192.0.2.8", "203.0.113.255", "255.255.255.255", "::ffff:10.1.2.3",
		"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "::1", "fdff::1",
	} {
		require.True(t, s.Contains(netip.MustParseAddr(in)), in)
	}
	for _, out := range []string{
		"9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.9", "203.0.112.255", "203.0.114.0", "0.0.0.0", "255.255.255.254",
		"2001:db7:ffff::", "2001:db9::", "::", "::2", "fe00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::a00:1",
	} {
		require.False(t, s.Contains(netip.MustParseAddr(out)), out)
	}
	require.False(t, s.Contains(netip.Addr{}))
	require.False(t, (*Set)(nil).Contains(netip.MustParseAddr("10.0.0.1")))
	require.False(t, new(Set).Contains(netip.MustParseAddr("10.0.0.1")))
	require.Equal(t, 9, s.Len())

	from, to, ok := s.Find(netip.MustParseAddr("192.0.2.8"))
	require.True(t, ok)
	require.Equal(t, "192.0.2.7-192.0.2.8", from.String()+"-"+to.String(), "neighbours are one range")

	everybody := set(t, "0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::1")
	for _, in := range []string{"0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "10.0.0.1"} {
		require.True(t, everybody.Contains(netip.MustParseAddr(in)), in)
	}
}

// TestSetIsTheUnionOfItsPrefixes compares with a search through all prefixes, near
// their borders.
func TestSetIsTheUnionOfItsPrefixes(t *testing.T) {
	near := rapid.SampledFrom([]byte{0, 1, 2, 127, 128, 255}) // so that prefixes touch and overlap
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
			if rapid.Bool().Draw(t, "v4") {
				b := [4]byte(rapid.SliceOfN(near, 4, 4).Draw(t, "v4"))
				p, _ := netip.AddrFrom4(b).Prefix(rapid.IntRange(0, 32).Draw(t, "bits"))
				return p
			}
			b := [16]byte(rapid.SliceOfN(near, 16, 16).Draw(t, "v6"))
			p, _ := netip.AddrFrom16(b).Prefix(rapid.IntRange(0, 128).Draw(t, "bits"))
			return p
		})
		list := rapid.SliceOfN(prefix, 0, 40).Draw(t, "prefixes")
		var b Builder
		for _, p := range list {
			b.Add(p)
		}
		s := b.Set()
		contains := func(a netip.Addr) bool {
			for _, p := range list {
				if p.Contains(a) {
					return true
				}
			}
			return false
		}
		for _, p := range list {
			first := p.Masked().Addr()
			last := lastOf(p)
			for _, a := range []netip.Addr{first, first.Prev(), last, last.Next()} {
				if a.IsValid() && !a.Is4In6() && contains(a) != s.Contains(a) {
					t.Fatalf("%s: want %v", a, contains(a))
				}
			}
		}
	})
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
