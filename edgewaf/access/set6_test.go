package access

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// unevenV6 returns prefixes that are in one another's neighbourhood at every scale: in each
// of so many steps the most of them share some bits more.
func unevenV6(r *rand.Rand, n, step int) []netip.Prefix {
	list := make([]netip.Prefix, n)
	for i := range list {
		var b [16]byte
		for at, common := 0, true; at < 128; at++ {
			if at%step == 0 && common {
				common = r.IntN(8) > 0
			}
			if !common && r.IntN(2) > 0 {
				b[at/8] |= 0x80 >> (at % 8)
			}
		}
		bits := 128
		if r.IntN(3) == 0 {
			bits = 20 + r.IntN(109)
		}
		list[i] = netip.PrefixFrom(netip.AddrFrom16(b), bits).Masked()
	}
	return list
}

// TestSetOfManyV6 compares with a search in sorted ranges, near the borders of all prefixes.
func TestSetOfManyV6(t *testing.T) {
	for _, step := range []int{1, 3, 7, 16, 40, 64, 128} {
		for _, n := range []int{1, 14, 15, 40, 700, 5000} {
			r := rand.New(rand.NewPCG(uint64(step), uint64(n)))
			list := unevenV6(r, n, step)
			if n == 5000 {
				list = append(list, netip.MustParsePrefix("fd00::/8"))
			}
			var b Builder
			for _, p := range list {
				b.Add(p)
			}
			s := b.Set()
			require.LessOrEqual(t, s.Bytes(), 256+100*n, "bits %d", step)
			type span struct{ from, to netip.Addr }
			var spans []span
			slices.SortFunc(list, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
			for _, p := range list {
				if last := len(spans) - 1; last >= 0 && (p.Addr().Compare(spans[last].to) <= 0 || p.Addr() == spans[last].to.Next()) {
					if spans[last].to.Less(lastOf(p)) {
						spans[last].to = lastOf(p)
					}
					continue
				}
				spans = append(spans, span{p.Addr(), lastOf(p)})
			}
			look := func(a netip.Addr) (span, bool) {
				i, ok := slices.BinarySearchFunc(spans, a, func(s span, a netip.Addr) int { return s.from.Compare(a) })
				if !ok {
					i--
				}
				if i < 0 || spans[i].to.Less(a) {
					return span{}, false
				}
				return spans[i], true
			}
			for _, p := range list {
				for _, a := range []netip.Addr{p.Addr(), p.Addr().Prev(), p.Addr().Next(), lastOf(p), lastOf(p).Next(), lastOf(p).Prev()} {
					if !a.IsValid() || a.Is4In6() {
						continue
					}
					want, in := look(a)
					require.Equal(t, in, s.Contains(a), "bits %d, %d prefixes: %s", step, n, a)
					from, to, ok := s.Find(a)
					require.Equal(t, in, ok)
					require.Equal(t, want, span{from, to})
				}
			}
		}
	}
}

// TestSetV6Merges: halves become wholes, and what is within another prefix is left out.
func TestSetV6Merges(t *testing.T) {
	var b Builder
	for i := range 1 << 12 {
		b.Add(netip.PrefixFrom(v6{0x20010db8_00000000, uint64(i)}.addr(), 128))
	}
	s := b.Set()
	require.Len(t, s.v6.from, 1)
	require.EqualValues(t, 116, s.v6.length[0])
	require.Equal(t, 1<<12, s.Len())
	s = set(t, "8000::/1", "::/1", "2001:db8::1")
	require.Len(t, s.v6.from, 1)
	require.Zero(t, s.v6.length[0])
}
