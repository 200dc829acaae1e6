package rx

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// idle says which characters leave the automaton idle, that is in a state in which no
// match has begun. Most text does, and is passed over faster than by transitions.
type idle struct {
	// kinds are those whose idle states are skipped in, as bits. None when what begins
	// a match is too common to gain anything.
	kinds uint8
	// stays has the bytes that can be skipped.
	stays [256]bool
	// stops are the other bytes, where they are few and rare.
	stops []byte
}

const (
	// Commonness is in thousandths of the bytes of a request.
	commonStops = 250
	rareStops   = 60
	maxStops    = 3
)

// findIdle looks at what the idle states do.
func findIdle(b *builder) (best idle) {
	// The states behind each kind of character are the same one unless assertions are
	// where a match begins. Then one may skip from each to any other, which suits \b,
	// or in the one behind ordinary characters alone, which suits ^.
	var keys [kinds]string
	for _, k := range []kind{kindOther, kindWord, kindNewline} {
		if b.begin(k) != unknown {
			// Dead, or all texts match.
			return idle{}
		}
		keys[k] = string(b.key)
	}
	cost := commonStops + 1
	for _, skipped := range []uint8{1 << kindOther, 1<<kindOther | 1<<kindWord | 1<<kindNewline} {
		i := idle{kinds: skipped}
		if skipped == 1<<kindOther {
			// The kinds that have the same state are skipped as well.
			for k := kindWord; k < kinds; k++ {
				if keys[k] == keys[kindOther] {
					i.kinds |= 1 << k
				}
			}
		}
		if c := i.fill(b, &keys); c < cost {
			best, cost = i, c
		}
	}
	if cost > rareStops {
		best.stops = nil
	}
	return best
}

// fill finds out which bytes may be skipped. It returns how common the others are.
func (i *idle) fill(b *builder, keys *[kinds]string) (cost int) {
	c := &b.classes
	stays := make([]bool, c.n)
	for class := range stays {
		behind := c.kind[class]
		stays[class] = i.kinds&(1<<behind) != 0
		for k := kindOther; k < kinds && stays[class]; k++ {
			if i.kinds&(1<<k) != 0 {
				stays[class] = b.step(keys[k], uint32(class)) == unknown && string(b.key) == keys[behind]
			}
		}
	}
	for v := range i.stays {
		if class := c.ofByte[v]; class != wide {
			i.stays[v] = stays[class]
		} else {
			i.stays[v] = c.allStay(byte(v), stays)
		}
		if !i.stays[v] {
			i.stops = append(i.stops, byte(v))
			cost += commonness(byte(v))
		}
	}
	if len(i.stops) > maxStops {
		i.stops = nil
	}
	return cost
}

// allStay reports whether the runes whose encoding begins with a byte all stay. So must
// what is not UTF-8, as which each byte may be read: then bytes can be skipped one by
// one, and one that stops is never in the middle of a rune that was skipped.
func (c *classes) allStay(b byte, stays []bool) bool {
	if !stays[c.of(utf8.RuneError)] {
		return false
	}
	var from, to rune
	switch {
	case b >= 0xC2 && b <= 0xDF:
		from = rune(b&0x1F) << 6
		to = from | 0x3F
	case b >= 0xE0 && b <= 0xEF:
		from = rune(b&0x0F) << 12
		from, to = max(from, 0x800), from|0xFFF
	case b >= 0xF0 && b <= 0xF4:
		from = rune(b&0x07) << 18
		from, to = max(from, 0x10000), min(from|0x3FFFF, unicode.MaxRune)
	default:
		return true
	}
	if !stays[c.of(from)] {
		return false
	}
	for i, first := range c.first {
		if first > from && first <= to && !stays[c.class[i]] {
			return false
		}
	}
	return true
}

// marks are where the stops are next in a text, one behind for a zero. Each is looked for
// anew only when it was passed, so that all of it takes linear time.
type marks [maxStops]int

// skip returns where the next byte at or behind i is that can't be skipped, or the length
// of the text.
func (d *idle) skip(s string, i int, m *marks) int {
	if d.stops == nil {
		for i < len(s) && d.stays[s[i]] {
			i++
		}
		return i
	}
	least := len(s)
	for n, stop := range d.stops {
		if m[n] <= i {
			at := strings.IndexByte(s[i:], stop)
			if at < 0 {
				m[n] = len(s) + 1
			} else {
				m[n] = i + at + 1
			}
		}
		least = min(least, m[n]-1)
	}
	return least
}
