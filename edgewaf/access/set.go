package access

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
)

// Set is a set of addresses. It is made once by a Builder and may be used from any
// goroutine. The zero value is empty.
//
// For IPv4 it holds disjoint ranges in a sorted array, 8 bytes for each, and an index of
// 1 MiB at most. For IPv6 it holds disjoint prefixes, 17 bytes for each, and an index of 6
// to 30 bytes for each, or 80 if they are uneven at every scale. That takes a fraction of the
// memory of a trie when most entries are single addresses, and a lookup waits for one to
// three lines of memory.
type Set struct {
	v4    ranges4
	v6    prefixes6
	count int
}

// Contains reports whether the set has an address. IPv4 addresses mapped into IPv6
// are IPv4 addresses; zones are ignored.
func (s *Set) Contains(a netip.Addr) bool {
	switch {
	case s == nil || !a.IsValid():
		return false
	case a.Is4() || a.Is4In6():
		return s.v4.find(newV4(a)) >= 0
	}
	return s.v6.contains(newV6(a))
}

// Find returns the range of the set that has an address.
func (s *Set) Find(a netip.Addr) (from, to netip.Addr, ok bool) {
	switch {
	case s == nil || !a.IsValid():
		return netip.Addr{}, netip.Addr{}, false
	case a.Is4() || a.Is4In6():
		i := s.v4.find(newV4(a))
		if i < 0 {
			return netip.Addr{}, netip.Addr{}, false
		}
		return s.v4.list[i].from.addr(), s.v4.list[i].to.addr(), true
	}
	first, last, ok := s.v6.span(newV6(a))
	if !ok {
		return netip.Addr{}, netip.Addr{}, false
	}
	return first.addr(), last.addr(), true
}

// Len returns how many entries were added, which may be more than the ranges that
// they were merged into.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.count
}

// Bytes returns how much memory the set takes.
func (s *Set) Bytes() int {
	if s == nil {
		return 0
	}
	return len(s.v4.list)*8 + len(s.v4.index)*4 + s.v6.bytes()
}

// Builder collects what is to be in a set. The zero value is empty.
type Builder struct {
	v4    []span4
	v6    []prefix6
	count int
}

// Add adds the addresses of a prefix, which must be valid.
func (b *Builder) Add(p netip.Prefix) {
	b.count++
	p = p.Masked()
	if a := p.Addr(); a.Is4() {
		from := newV4(a)
		b.v4 = append(b.v4, span4{from, from | v4(uint64(1)<<(32-p.Bits())-1)})
		return
	}
	b.v6 = append(b.v6, prefix6{newV6(p.Addr()), uint8(p.Bits())})
}

// Len returns how many entries were added.
func (b *Builder) Len() int { return b.count }

// Set returns the set. The builder must not be used any more.
func (b *Builder) Set() *Set {
	return &Set{newRanges4(b.v4), newPrefixes6(b.v6), b.count}
}

type span4 struct{ from, to v4 }

// ranges4 are disjoint spans in order.
type ranges4 struct {
	list []span4
	// index has for each value of the upper bits, counted from least, the first span that
	// may hold it.
	index []uint32
	least v4
	shift uint
}

// indexBits bounds the size of an index: 1 MiB.
const indexBits = 18

func newRanges4(list []span4) (r ranges4) {
	if len(list) == 0 {
		return r
	}
	slices.SortFunc(list, func(a, b span4) int { return cmp.Compare(a.from, b.from) })
	merged := list[:1]
	for _, s := range list[1:] {
		last := &merged[len(merged)-1]
		if last.to == ^v4(0) || s.from <= last.to+1 {
			last.to = max(last.to, s.to)
			continue
		}
		merged = append(merged, s)
	}
	r.list = slices.Clone(merged)
	r.least = r.list[0].from
	width := r.list[len(r.list)-1].from - r.least
	size := min(indexBits, bits.Len(uint(len(r.list))))
	r.shift = uint(max(0, bits.Len32(uint32(width))-size))
	r.index = make([]uint32, width>>r.shift+2)
	bucket := 0
	for i, s := range r.list {
		for b := int((s.from - r.least) >> r.shift); bucket <= b; bucket++ {
			r.index[bucket] = uint32(i)
		}
	}
	for ; bucket < len(r.index); bucket++ {
		r.index[bucket] = uint32(len(r.list))
	}
	return r
}

// bucket returns between which positions the span that has an address ends.
func (r *ranges4) bucket(k v4) (low, high int) {
	if len(r.index) == 0 || k < r.least {
		return 0, 0
	}
	b := uint((k - r.least) >> r.shift)
	if last := uint(len(r.index) - 1); b >= last {
		return int(r.index[last]), int(r.index[last])
	}
	return int(r.index[b]), int(r.index[b+1])
}

// find returns the position of the span that has an address, or -1.
func (r *ranges4) find(k v4) int {
	low, high := r.bucket(k)
	// The last span that does not begin behind k; the one before the bucket may
	// reach into it.
	for low < high {
		if middle := int(uint(low+high) >> 1); r.list[middle].from <= k {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 || r.list[low-1].to < k {
		return -1
	}
	return low - 1
}

type v4 uint32

func newV4(a netip.Addr) v4 {
	b := a.As4()
	return v4(b[0])<<24 | v4(b[1])<<16 | v4(b[2])<<8 | v4(b[3])
}

func (k v4) addr() netip.Addr {
	return netip.AddrFrom4([4]byte{byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)})
}
