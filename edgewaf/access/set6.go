package access

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// prefixes6 are disjoint prefixes of IPv6 in order, below an index: the space between the
// first and the last address of them is divided into cells, and a cell with too many
// prefixes once more, since lists follow how networks are given out, which is anything but
// even.
type prefixes6 struct {
	from   []v6
	length []uint8
	root   part6
	cells  []cell6
}

// part6 is space that is divided into cells of 1<<shift addresses.
type part6 struct {
	base  v6 // a multiple of that
	shift uint
	// first and count are its cells; or its prefixes, if it is searched.
	first, count uint32
	searched     bool
}

// cell6 tells of the prefixes that begin in a cell what a lookup must know as a rule, in one
// line of memory.
type cell6 struct {
	first  uint32 // position of the first prefix
	state  state6
	count  uint8
	length uint8 // of each, if it is uniform
	_      uint8
	// offset has of the places of prefixes in the cell the 32 upper bits, in order, and the
	// highest number behind the last one.
	offset [most6]uint32
}

// most6 is how many prefixes a cell has at most.
const most6 = 14

// state6 is what there is in a cell.
type state6 uint8

const (
	uniform6 state6 = iota // prefixes of one length
	mixed6                 // of several
	none6
	whole6 // none, and it is within the one in front
	// finer6 and searched6 have a part in place of prefixes.
	finer6
	searched6
)

const (
	// maxDepth6 is how many parts may be in one another. It bounds the memory for lists
	// that are made to be uneven at every scale.
	maxDepth6 = 3
	// fill6 is how many prefixes a cell has on the average, at least.
	fill6 = 5
)

// prefix6 is a prefix of 0 to 128 bits.
type prefix6 struct {
	from   v6
	length uint8
}

// contains reports whether a prefix has an address.
func (p prefix6) contains(k v6) bool {
	// Without branches, which would be guessed wrong where lengths are mixed.
	n := uint(p.length)
	return (k.hi^p.from.hi)&(^uint64(0)<<(64-min(n, 64)))|(k.lo^p.from.lo)&(^uint64(0)<<(128-n)) == 0
}

// last is the last address of a prefix.
func (p prefix6) last() v6 {
	n := uint(p.length)
	return v6{p.from.hi | ^(^uint64(0) << (64 - min(n, 64))), p.from.lo | ^(^uint64(0) << (128 - n))}
}

// halves reports whether two prefixes in order are the halves of a shorter one.
func halves(a, b prefix6) bool {
	if a.length != b.length || a.length == 0 {
		return false
	}
	shorter := prefix6{a.from, a.length - 1}
	return shorter.contains(b.from) && b.last() == shorter.last()
}

func newPrefixes6(list []prefix6) (r prefixes6) {
	if len(list) == 0 {
		return r
	}
	slices.SortFunc(list, func(a, b prefix6) int {
		return cmp.Or(a.from.compare(b.from), cmp.Compare(a.length, b.length))
	})
	kept := list[:0]
	for _, p := range list {
		if n := len(kept); n > 0 && kept[n-1].contains(p.from) {
			continue
		}
		for n := len(kept); n > 0 && halves(kept[n-1], p); n = len(kept) {
			p = prefix6{kept[n-1].from, p.length - 1}
			kept = kept[:n-1]
		}
		kept = append(kept, p)
	}
	r.from, r.length = make([]v6, len(kept)), make([]uint8, len(kept))
	for i, p := range kept {
		r.from[i], r.length[i] = p.from, p.length
	}
	r.root = r.divide(0, len(kept), 1)
	r.cells = slices.Clip(r.cells)
	return r
}

func (r *prefixes6) at(i int) prefix6 { return prefix6{r.from[i], r.length[i]} }

// divide makes a part of prefixes.
func (r *prefixes6) divide(low, high, depth int) (p part6) {
	if depth > maxDepth6 {
		return part6{first: uint32(low), count: uint32(high - low), searched: true}
	}
	last := r.at(high - 1).last()
	for ; ; p.shift++ {
		p.base = r.from[low].upper(p.shift)
		if n, ok := last.minus(p.base).cell(p.shift); ok && n < uint64(max(2, (high-low)/fill6)) {
			p.count = uint32(n) + 1
			break
		}
	}
	p.first = uint32(len(r.cells))
	r.cells = append(r.cells, make([]cell6, p.count)...)
	end := low
	for i := range p.count {
		first := end
		for ; end < high; end++ {
			if n, _ := r.from[end].minus(p.base).cell(p.shift); n > uint64(i) {
				break
			}
		}
		var cell cell6
		switch {
		case end-first > most6:
			cell.divided(r.divide(first, end, depth+1))
		case end > first:
			cell.fill(r, first, end, p.shift)
		default:
			cell.state = none6
			if i > 0 { // there is a prefix in front of it then
				if n, _ := r.at(end - 1).last().minus(p.base).cell(p.shift); n >= uint64(i) {
					cell.state = whole6
				}
			}
		}
		r.cells[p.first+i] = cell
	}
	return p
}

// fill puts prefixes into a cell.
func (c *cell6) fill(r *prefixes6, first, end int, shift uint) {
	c.first, c.count, c.length = uint32(first), uint8(end-first), r.length[first]
	for i := range c.offset {
		c.offset[i] = ^uint32(0)
		if at := first + i; at < end {
			c.offset[i] = r.from[at].offset(shift)
			if r.length[at] != c.length {
				c.state = mixed6
			}
		}
	}
}

// divided puts a part into a cell.
func (c *cell6) divided(p part6) {
	if c.state = finer6; p.searched {
		c.state = searched6
	}
	c.offset = [most6]uint32{
		p.first, p.count, uint32(p.shift), uint32(p.base.hi >> 32), uint32(p.base.hi), uint32(p.base.lo >> 32), uint32(p.base.lo),
	}
}

// part is the part in a cell.
func (c *cell6) part() part6 {
	o := &c.offset
	return part6{
		first: o[0], count: o[1], shift: uint(o[2]), searched: c.state == searched6,
		base: v6{uint64(o[3])<<32 | uint64(o[4]), uint64(o[5])<<32 | uint64(o[6])},
	}
}

// contains reports whether one of the prefixes has an address.
func (r *prefixes6) contains(k v6) bool {
	for part := r.root; ; {
		if part.searched {
			_, ok := r.search(k, int(part.first), int(part.first+part.count))
			return ok
		}
		n, ok := k.minus(part.base).cell(part.shift)
		if !ok || n >= uint64(part.count) {
			return false
		}
		cell := &r.cells[uint64(part.first)+n]
		if cell.state < none6 {
			return cell.contains(r, k, part.shift)
		}
		if cell.state < finer6 {
			return cell.state == whole6
		}
		part = cell.part()
	}
}

// contains reports whether a prefix in the cell has an address.
func (c *cell6) contains(r *prefixes6, k v6, shift uint) bool {
	offset := k.offset(shift)
	// How many begin not behind it. Without branches, which would be guessed wrong.
	n := uint64(0)
	for _, o := range c.offset {
		n += (uint64(o) - uint64(offset) - 1) >> 63
	}
	n = min(n, uint64(c.count)) - 1
	if n >= most6 {
		return false // in front of the first one, where there is none: it would be around the cell
	}
	length := c.length
	if c.state == mixed6 {
		length = r.length[uint64(c.first)+n]
	}
	below := shift - min(shift, 32) // bits that are not in the cell
	if free := 128 - uint(length); free >= below {
		return (c.offset[n]^offset)>>(free-below) == 0
	}
	if c.offset[n] != offset {
		return false
	}
	i := int(c.first) + int(n)
	if k.compare(r.from[i]) < 0 {
		_, ok := r.search(k, int(c.first), i)
		return ok
	}
	return prefix6{r.from[i], length}.contains(k)
}

// search looks among some of the prefixes for the one that has an address.
func (r *prefixes6) search(k v6, low, high int) (position int, ok bool) {
	for high-low > 1 {
		if middle := int(uint(low+high) >> 1); r.from[middle].compare(k) > 0 {
			high = middle
		} else {
			low = middle
		}
	}
	return low, low < high && r.at(low).contains(k)
}

// span returns the range that has an address: a prefix, and its neighbours without a gap.
func (r *prefixes6) span(k v6) (from, to v6, ok bool) {
	first, ok := r.search(k, 0, len(r.from))
	if !ok {
		return v6{}, v6{}, false
	}
	last := first
	for first > 0 && r.at(first-1).last().next() == r.from[first] {
		first--
	}
	for last+1 < len(r.from) && r.at(last).last().next() == r.from[last+1] {
		last++
	}
	return r.from[first], r.at(last).last(), true
}

// bytes is how much memory they take.
func (r *prefixes6) bytes() int { return len(r.from)*17 + len(r.cells)*64 }

// v6 is an address as a number.
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
	return cmp.Or(cmp.Compare(k.hi, other.hi), cmp.Compare(k.lo, other.lo))
}

// next is the address behind; behind the last one is the first.
func (k v6) next() v6 {
	if k.lo++; k.lo == 0 {
		k.hi++
	}
	return k
}

// minus is the distance from another address, around the end if that is behind this one.
func (k v6) minus(other v6) v6 {
	lo, borrow := bits.Sub64(k.lo, other.lo, 0)
	hi, _ := bits.Sub64(k.hi, other.hi, borrow)
	return v6{hi, lo}
}

// upper is the number with its lower bits zero.
func (k v6) upper(shift uint) v6 {
	if shift >= 64 {
		return v6{k.hi >> (shift - 64) << (shift - 64), 0}
	}
	return v6{k.hi, k.lo >> shift << shift}
}

// cell is the number shifted to the right, and whether that is no more than 64 bits.
func (k v6) cell(shift uint) (uint64, bool) {
	if shift >= 64 {
		return k.hi >> (shift - 64), true
	}
	return k.hi<<(64-shift) | k.lo>>shift, k.hi>>shift == 0
}

// offset is the number below a bit, of which only the 32 upper bits.
func (k v6) offset(shift uint) uint32 {
	if shift <= 32 {
		return uint32(k.lo & (1<<shift - 1))
	}
	n, _ := k.cell(shift - 32)
	return uint32(n)
}
