package content

import (
	"encoding/json"
	"hash/maphash"
	"regexp"
)

// Once returns JSON in which each value stands once that repeats under one name, where the
// places in arrays are no part of names: the others are replaced by empty objects, in which
// nothing is to be found, so that what is left has the names that it had. Values that are
// only digits of some number, a date, or a UUID count as alike. It returns data itself when
// more than most values and arrays are left, or when it is no JSON.
//
// So lists of records, which have many values and few different ones, can be held against
// rules that take their time for each value.
func Once(data []byte, most int) []byte {
	if !json.Valid(data) {
		return data
	}
	o := once{in: data, out: make([]byte, 0, len(data)), seen: make(map[uint64]bool), left: most}
	o.seed = maphash.MakeSeed()
	if o.value(0, 0); o.left < 0 || o.tooDeep {
		return data
	}
	return o.out
}

// maxOnce is how deep JSON may be nested.
const maxOnce = 256

// once goes through valid JSON.
type once struct {
	in, out []byte
	at      int
	seed    maphash.Seed
	seen    map[uint64]bool // names with values
	left    int
	tooDeep bool
}

// value copies a value whose name has a hash, or what stands for it, and reports whether there
// is anything in what was copied.
func (o *once) value(name uint64, depth int) (kept bool) {
	if depth > maxOnce || o.tooDeep || o.left < 0 {
		o.tooDeep = o.tooDeep || depth > maxOnce
		return false
	}
	o.space()
	begin := len(o.out)
	switch o.in[o.at] {
	case '{':
		kept = o.members(name, depth)
		if !kept {
			o.out = append(o.out[:begin], "{}"...)
		}
		return kept
	case '[':
		var empty bool
		switch kept, empty = o.elements(name, depth); {
		case empty:
			kept = o.keep(name, []byte("[]"))
		case kept:
			o.left-- // the length of an array is a value too
		}
	default:
		from := o.at
		o.scalar()
		if kept = o.keep(name, o.in[from:o.at]); kept {
			o.out = append(o.out, o.in[from:o.at]...)
		}
	}
	if !kept {
		o.out = append(o.out[:begin], "{}"...)
	}
	return kept
}

// keep reports whether a value is new under a name.
func (o *once) keep(name uint64, text []byte) bool {
	if alike.Match(text) {
		text = []byte("0")
	}
	key := o.hash(name, text)
	if o.seen[key] {
		return false
	}
	o.seen[key] = true
	o.left--
	return true
}

// alike are values in which there is no room for anything, as JSON. Numbers of ten digits and
// more are not among them, since there are rules about some.
var alike = regexp.MustCompile(`^(-?\d{1,9}(\.\d{1,9})?|"(-?\d{1,9}(\.\d{1,9})?` +
	`|\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?` +
	`|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})")$`)

func (o *once) hash(name uint64, text []byte) uint64 {
	return maphash.Comparable(o.seed, [2]uint64{name, maphash.Bytes(o.seed, text)})
}

func (o *once) members(name uint64, depth int) (kept bool) {
	o.copy()
	for o.space(); o.in[o.at] != '}'; o.space() {
		if o.in[o.at] == ',' {
			o.copy()
			o.space()
		}
		from := o.at
		o.scalar()
		key := o.in[from:o.at]
		o.out = append(o.out, key...)
		o.space()
		o.copy() // the colon
		if o.value(o.hash(name, key), depth+1) {
			kept = true
		}
		if o.tooDeep || o.left < 0 {
			return kept
		}
	}
	o.copy()
	return kept
}

func (o *once) elements(name uint64, depth int) (kept, empty bool) {
	o.copy()
	o.space()
	empty = o.in[o.at] == ']'
	for ; o.in[o.at] != ']'; o.space() {
		if o.in[o.at] == ',' {
			o.copy()
		}
		if o.value(o.hash(name, nil), depth+1) {
			kept = true
		}
		if o.tooDeep || o.left < 0 {
			return kept, false
		}
	}
	o.copy()
	return kept, empty
}

// copy copies one sign.
func (o *once) copy() {
	o.out = append(o.out, o.in[o.at])
	o.at++
}

func (o *once) space() {
	for o.in[o.at] == ' ' || o.in[o.at] == '\t' || o.in[o.at] == '\r' || o.in[o.at] == '\n' {
		o.at++
	}
}

// scalar goes to the end of a string, a number or a word.
func (o *once) scalar() {
	if o.in[o.at] == '"' {
		for o.at++; o.in[o.at] != '"'; o.at++ {
			if o.in[o.at] == '\\' {
				o.at++
			}
		}
		o.at++
		return
	}
	for o.at < len(o.in) {
		switch o.in[o.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return
		}
		o.at++
	}
}
