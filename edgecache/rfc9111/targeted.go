package rfc9111

import (
	"time"

	"github.com/dunglas/httpsfv"
)

// ParseTargeted parses a targeted cache control field (RFC 9213 section 2.1),
// which is a Dictionary of RFC 9651. It is false, and the field is to be ignored,
// when it is empty, does not parse as a whole, or gives a delta in another type
// than Integer. A negative delta makes the response stale. Parameters are
// ignored; of repeated members the last counts, as the dictionary demands.
func ParseTargeted(values []string) (Directives, bool) {
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil || len(dict.Names()) == 0 {
		return NoDirectives(), false
	}
	d := NoDirectives()
	t := targetedFields{dict: dict, typesOK: true}
	d.NoStore = t.restricts("no-store")
	d.MustRevalidate = t.restricts("must-revalidate")
	d.ProxyRevalidate = t.restricts("proxy-revalidate")
	d.NoTransform = t.restricts("no-transform")
	d.Public = t.permits("public")
	d.MustUnderstand = t.permits("must-understand")
	d.Immutable = t.permits("immutable")
	t.qualified("no-cache", &d.NoCache, &d.NoCacheFields)
	t.qualified("private", &d.Private, &d.PrivateFields)
	d.MaxAge = t.delta("max-age")
	d.SMaxAge = t.delta("s-maxage")
	d.StaleWhileRevalidate = t.delta("stale-while-revalidate")
	d.StaleIfError = t.delta("stale-if-error")
	d.Invalid = t.negative
	if !t.typesOK && !d.NoStore && !d.NoCache && !d.Private {
		return NoDirectives(), false
	}
	return d, true
}

// targetedFields reads typed members of a dictionary.
type targetedFields struct {
	dict     *httpsfv.Dictionary
	typesOK  bool
	negative bool
}

// value returns the bare value of a member; for an inner list it is nil.
func (t *targetedFields) value(name string) (v any, ok bool) {
	m, ok := t.dict.Get(name)
	if item, isItem := m.(httpsfv.Item); isItem {
		v = item.Value
	}
	return v, ok
}

// restricts says that the directive is there, in whatever form, and not false.
func (t *targetedFields) restricts(name string) bool {
	v, ok := t.value(name)
	return ok && v != false
}

// permits says that the directive is there and true.
func (t *targetedFields) permits(name string) bool {
	v, _ := t.value(name)
	return v == true
}

func (t *targetedFields) qualified(name string, whole *bool, fields *[]string) {
	v, ok := t.value(name)
	if !ok || v == false {
		return
	}
	list, isString := v.(string)
	if token, isTok := v.(httpsfv.Token); isTok {
		list, isString = string(token), true
	}
	qualify(whole, fields, member{name: name, arg: list, hasArg: isString})
}

func (t *targetedFields) delta(name string) time.Duration {
	v, ok := t.value(name)
	if !ok {
		return Absent
	}
	n, isInt := v.(int64)
	if !isInt {
		t.typesOK = false
		return Absent
	}
	if n < 0 {
		t.negative = true
		return Absent
	}
	return time.Duration(min(n, int64(MaxDelta/time.Second))) * time.Second
}
