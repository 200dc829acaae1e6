package access

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// Set is a set of addresses. It is made once by a Builder and may be used from any
// goroutine. The zero value is empty.
//
// It holds disjoint ranges in sorted arrays, 8 bytes for one of IPv4 and 32 for one
// of IPv6, and an index on top of them. That takes a fraction of the memory of a
// trie when most entries are single addresses, and a lookup touches two or three
// lines of memory.
type Set struct {
	v4    ranges[v4]
	v6    ranges6
	count int
}

// Contains reports whether the set has an address. IPv4 addresses mapped into IPv6
// are IPv4 addresses; zones are ignored.
func (s *Set) Contains(a netip.Addr) bool {
	switch {
	case s == nil || !a.IsValid():
		return false
	case a.Is4() || a.Is4In6():
		return find4(&s.v4, newV4(a)) >= 0
	}
	return find6(&s.v6, newV6(a)) >= 0
}

// Find returns the range of the set that has an address.
func (s *Set) Find(a netip.Addr) (from, to netip.Addr, ok bool) {
	switch {
	case s == nil || !a.IsValid():
		return netip.Addr{}, netip.Addr{}, false
	case a.Is4() || a.Is4In6():
		i := find4(&s.v4, newV4(a))
		if i < 0 {
			return netip.Addr{}, netip.Addr{}, false
		}
		return s.v4.list[i].from.addr(), s.v4.list[i].to.addr(), true
	}
	i := find6(&s.v6, newV6(a))
	if i < 0 {
		return netip.Addr{}, netip.Addr{}, false
	}
	head, tail := s.v6.heads[i], s.v6.tails[i]
	return v6{head.from, tail.from}.addr(), v6{head.to, tail.to}.addr(), true
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
	return len(s.v4.list)*8 + len(s.v6.heads)*32 + (len(s.v4.index)+len(s.v6.index))*4
}

// Builder collects what is to be in a set. The zero value is empty.
type Builder struct {
	v4    []span[v4]
	v6    []span[v6]
	count int
}

// Add adds the addresses of a prefix, which must be valid.
func (b *Builder) Add(p netip.Prefix) {
	b.count++
	p = p.Masked()
	if a := p.Addr(); a.Is4() {
		from := newV4(a)
		b.v4 = append(b.v4, span[v4]{from, from | v4(uint64(1)<<(32-p.Bits())-1)})
		return
	}
	from := newV6(p.Addr())
	to := from
	if n := p.Bits(); n < 64 {
		to.hi |= 1<<(64-n) - 1
		to.lo = ^uint64(0)
	} else {
		to.lo |= 1<<(128-n) - 1
	}
	b.v6 = append(b.v6, span[v6]{from, to})
}

// Len returns how many entries were added.
func (b *Builder) Len() int { return b.count }

// Set returns the set. The builder must not be used any more.
func (b *Builder) Set() *Set {
	return &Set{newRanges(b.v4), newRanges6(b.v6), b.count}
}

// key is an address as a number.
type key[K any] interface {
	// compare orders addresses.
	compare(other K) int
	// next is the address behind, and whether there is one.
	next() (K, bool)
	// head are the 64 uppermost bits, of which the index is made.
	head() uint64
}

type span[K any] struct{ from, to K }

// ranges are disjoint spans in order.
type ranges[K key[K]] struct {
	list []span[K]
	// index has for each value of the head's upper bits, counted from least, the
	// first span that may hold it.
	index []uint32
	least uint64
	shift uint
}

// indexBits bounds the size of an index: 1 MiB.
const indexBits = 18

func newRanges[K key[K]](list []span[K]) (r ranges[K]) {
	if len(list) == 0 {
		return r
	}
	slices.SortFunc(list, func(a, b span[K]) int { return a.from.compare(b.from) })
	merged := list[:1]
	for _, s := range list[1:] {
		last := &merged[len(merged)-1]
		if behind, more := last.to.next(); !more || s.from.compare(behind) <= 0 {
			if s.to.compare(last.to) > 0 {
				last.to = s.to
			}
			continue
		}
		merged = append(merged, s)
	}
	r.list = slices.Clone(merged)
	r.least = r.list[0].from.head()
	width := r.list[len(r.list)-1].from.head() - r.least
	size := min(indexBits, bits.Len(uint(len(r.list))))
	r.shift = uint(max(0, bits.Len64(width)-size))
	r.index = make([]uint32, width>>r.shift+2)
	bucket := 0
	for i, s := range r.list {
		for b := int((s.from.head() - r.least) >> r.shift); bucket <= b; bucket++ {
			r.index[bucket] = uint32(i)
		}
	}
	for ; bucket < len(r.index); bucket++ {
		r.index[bucket] = uint32(len(r.list))
	}
	return r
}

// bucket returns between which positions the span that has an address of that head
// ends.
func (r *ranges[K]) bucket(head uint64) (low, high int) {
	if len(r.index) == 0 || head < r.least {
		return 0, 0
	}
	b := (head - r.least) >> r.shift
	if last := uint64(len(r.index) - 1); b >= last {
		return int(r.index[last]), int(r.index[last])
	}
	return int(r.index[b]), int(r.index[b+1])
}

// find4 returns the position of the span that has an address, or -1. It is no method of
// ranges since calls through a type parameter take longer than the search.
func find4(r *ranges[v4], k v4) int {
	low, high := r.bucket(uint64(k))
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

// ranges6 are ranges of IPv6, with the upper halves of addresses apart: a bucket of them
// is a line of memory or two, and most addresses are told by them alone.
type ranges6 struct {
	ranges[v6]   // without the list
	heads, tails []span[uint64]
}

func newRanges6(list []span[v6]) ranges6 {
	r := ranges6{ranges: newRanges(list)}
	r.heads, r.tails = make([]span[uint64], len(r.list)), make([]span[uint64], len(r.list))
	for i, s := range r.list {
		r.heads[i], r.tails[i] = span[uint64]{s.from.hi, s.to.hi}, span[uint64]{s.from.lo, s.to.lo}
	}
	r.list = nil
	return r
}

// few is how many heads are looked at one after the other.
const few = 8

// find6 is find4 for IPv6.
func find6(r *ranges6, k v6) int {
	low, high := r.bucket(k.hi)
	for high-low > few {
		if middle := int(uint(low+high) >> 1); r.heads[middle].from <= k.hi {
			low = middle + 1
		} else {
			high = middle
		}
	}
	for low < high && r.heads[low].from <= k.hi {
		low++
	}
	if low > 0 && r.heads[low-1].from == k.hi && r.tails[low-1].from > k.lo {
		low = r.before(low-1, k)
	}
	if low == 0 {
		return -1
	}
	if to := r.heads[low-1].to; to < k.hi || to == k.hi && r.tails[low-1].to < k.lo {
		return -1
	}
	return low - 1
}

// before returns the end of the spans in front of a position that don't begin behind k,
// among those of its head.
func (r *ranges6) before(high int, k v6) int {
	low := 0
	for low < high {
		middle := int(uint(low+high) >> 1)
		if head := r.heads[middle].from; head < k.hi || head == k.hi && r.tails[middle].from <= k.lo {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

type v4 uint32

func newV4(a netip.Addr) v4 {
	b := a.As4()
	return v4(b[0])<<24 | v4(b[1])<<16 | v4(b[2])<<8 | v4(b[3])
}

func (k v4) addr() netip.Addr {
	return netip.AddrFrom4([4]byte{byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)})
}
func (k v4) compare(other v4) int { return cmp.Compare(k, other) }
func (k v4) next() (v4, bool)     { return k + 1, k != ^v4(0) }
func (k v4) head() uint64         { return uint64(k) }

type v6 struct{ hi, lo uint64 }

func newV6(a netip.Addr) v6 {
	b := a.As16()
	return v6{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (k v6) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.AddrFrom16(b)
}

func (k v6) compare(other v6) int {
	if k.hi != other.hi {
		return cmp.Compare(k.hi, other.hi)
	}
	return cmp.Compare(k.lo, other.lo)
}

func (k v6) next() (v6, bool) {
	if k.lo++; k.lo == 0 {
		k.hi++
		return k, k.hi != 0
	}
	return k, true
}

func (k v6) head() uint64 { return k.hi }
