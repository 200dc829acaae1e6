package object

import (
	"net/http"
	"slices"
)

// fieldAt reads the field line that starts at i and returns where the next one
// starts.
func fieldAt(rec string, i int) (code uint8, name, value string, next int) {
	code = rec[i]
	i++
	if code == literal {
		name, i = readString(rec, i)
	} else {
		name = knownNames[code]
	}
	value, next = readString(rec, i)
	return code, name, value, next
}

// fieldsAt returns where the field lines start and end.
func (o *Object) fieldsAt() (start, end int) {
	return int(max(o.keyEnd, o.urlEnd)), int(o.tagOff)
}

// Fields yields every field line of the stored header. Names are canonical;
// lines of one name are neighbours and in their original order.
func (o *Object) Fields(yield func(name, value string) bool) {
	for i, end := o.fieldsAt(); i < end; {
		var name, value string
		_, name, value, i = fieldAt(o.rec, i)
		if !yield(name, value) {
			return
		}
	}
}

// NumFields returns the number of field lines.
func (o *Object) NumFields() int { return int(o.numFields) }

// Get returns the first value of the field with the given canonical name, or
// "". It does not allocate.
func (o *Object) Get(name string) string {
	return o.get(codeOf(name), name)
}

// ETag returns the first ETag field value, or "".
func (o *Object) ETag() string { return o.get(codeETag, "") }

// LastModified returns the first Last-Modified field value, or "".
func (o *Object) LastModified() string { return o.get(codeLastModified, "") }

// get returns the first value of the field with this code and, if that is
// literal, this name.
func (o *Object) get(wanted uint8, wantedName string) string {
	for i, end := o.fieldsAt(); i < end; {
		code, name, value, next := fieldAt(o.rec, i)
		switch {
		case rank(code) > rank(wanted):
			return ""
		case code == wanted && (code != literal || name == wantedName):
			return value
		}
		i = next
	}
	return ""
}

// FillHeader sets the stored fields in h, replacing those of the same name. All
// values lie behind one another in backing, which is grown at most once and
// returned extended: a caller that hands in a slice of sufficient capacity has
// no allocation but those of the map itself.
func (o *Object) FillHeader(h http.Header, backing []string) []string {
	backing = slices.Grow(backing, o.NumFields())
	first, previous := len(backing), ""
	for i, end := o.fieldsAt(); i < end; {
		var name, value string
		_, name, value, i = fieldAt(o.rec, i)
		if name != previous {
			first, previous = len(backing), name
		}
		backing = append(backing, value)
		// The capacity ends with the values, so that an Add to h copies them
		// and cannot reach the next field.
		h[name] = backing[first:len(backing):len(backing)]
	}
	return backing
}

// Header returns the stored header as a new map that the caller owns.
func (o *Object) Header() http.Header {
	h := make(http.Header, o.NumFields())
	o.FillHeader(h, nil)
	return h
}
