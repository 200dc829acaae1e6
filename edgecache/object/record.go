package object

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/http"
	"slices"
	"strings"
	"unsafe"
)

// A record is a sequence of
//
//	key | URL, unless the key contains it | fields | tags | vary names | flat body
//
// A field is a code (see names.go), for code 0 the length and bytes of the
// name, then the length and bytes of the value. Tags and vary names are lengths
// and bytes. Lengths are unsigned varints; where a part begins and ends is kept
// in the Object, so that only New decides about bounds.

// field is a header field with all its values on the way into a record.
type field struct {
	code   uint8
	name   string
	values []string
}

// build makes the object whose flat body is the concatenation of chunks, or
// whose body is large. Its pieces are measured first, so that the record is
// allocated once and exactly.
func build(s *Spec, chunks [][]byte, large *body) *Object {
	var scratch [32]field
	fields := sortedFields(scratch[:0], s.Header)

	o := &Object{
		freshness: s.Freshness, seq: s.Seq, kind: s.Kind, large: large,
		status: uint16(min(max(s.Status, 0), math.MaxUint16)),
	}
	o.checked.Store(s.Seq)

	size := len(s.Key)
	o.keyEnd = uint32(size)
	urlAt, suffix := strings.Index(s.Key, s.URL), ""
	if urlAt < 0 {
		urlAt, suffix = size, s.URL
		size += len(suffix)
	}
	o.urlOff, o.urlEnd = uint32(urlAt), uint32(urlAt+len(s.URL))
	for _, f := range fields {
		for _, v := range f.values {
			size += f.size() + sizeOf(v)
			o.numFields++
		}
	}
	o.tagOff = uint32(size)
	for _, t := range s.Tags {
		size += sizeOf(t)
	}
	o.varyOff = uint32(size)
	for _, v := range s.Vary {
		size += sizeOf(v)
	}
	if size > math.MaxUint32 {
		panic("object: header of more than 4 GiB")
	}
	o.bodyOff = uint32(size)
	for _, c := range chunks {
		size += len(c)
	}

	b := append(make([]byte, 0, size), s.Key...)
	b = append(b, suffix...)
	for _, f := range fields {
		for _, v := range f.values {
			b = appendString(f.appendName(b), v)
		}
	}
	for _, t := range s.Tags {
		b = appendString(b, t)
	}
	for _, v := range s.Vary {
		b = appendString(b, v)
	}
	for _, c := range chunks {
		b = append(b, c...)
	}
	// Nobody writes to b from here on, so it may be seen as a string.
	o.rec = unsafe.String(unsafe.SliceData(b), len(b))
	return o
}

// sortedFields appends the fields of h, ordered by code with unknown names last
// and in alphabetical order, so that a look-up can stop early, the fields of
// one name are neighbours, and equal headers make equal records.
func sortedFields(fields []field, h http.Header) []field {
	for name, values := range h {
		code := codeOf(name)
		if code == literal {
			name = http.CanonicalHeaderKey(name)
			code = codeOf(name)
		}
		fields = append(fields, field{code: code, name: name, values: values})
	}
	slices.SortFunc(fields, func(a, b field) int {
		if c := cmp.Compare(rank(a.code), rank(b.code)); c != 0 {
			return c
		}
		if c := cmp.Compare(a.name, b.name); c != 0 {
			return c
		}
		// Two spellings of one name meet here; map order must not show.
		return slices.Compare(a.values, b.values)
	})
	return fields
}

// rank orders codes: literal names come last.
func rank(code uint8) uint8 { return code - 1 }

func (f field) size() int {
	if f.code == literal {
		return 1 + sizeOf(f.name)
	}
	return 1
}

func (f field) appendName(b []byte) []byte {
	b = append(b, f.code)
	if f.code == literal {
		b = appendString(b, f.name)
	}
	return b
}

func sizeOf(s string) int {
	n := 1
	for l := len(s); l >= 0x80; l >>= 7 {
		n++
	}
	return n + len(s)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readString returns the string that starts with its length at i, and the
// position behind it.
func readString(rec string, i int) (s string, next int) {
	n, shift := 0, 0
	for {
		c := rec[i]
		i++
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			return rec[i : i+n], i + n
		}
		shift += 7
	}
}

func (o *Object) list(from, to uint32, yield func(string) bool) {
	for i := int(from); i < int(to); {
		var s string
		s, i = readString(o.rec, i)
		if !yield(s) {
			return
		}
	}
}
