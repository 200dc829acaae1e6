package edgecache

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// maxVaryNames caps the field names that one resource may vary on; a response
// that names more is not stored.
const maxVaryNames = 16

// setByProxies are fields that Caddy's proxy sets behind the cache, whatever the
// client sent.
var setByProxies = map[string]bool{"X-Forwarded-For": true, "Via": true, "Early-Data": true}

// unseen reports whether the origin may have got another value of a field than the
// client sent: the cache can't tell then which requests a response is for that
// varies on it, as with "*". These are the fields that the proxy sets itself, and
// those that are not forwarded, since header_up may set them again.
func (h *Handler) unseen(name string, t *target) bool {
	switch name {
	case "Host", "X-Forwarded-Host":
		return h.Key.IgnoreHost // else it is what the key says
	case "X-Forwarded-Proto":
		return h.Key.IgnoreScheme
	}
	return setByProxies[name] || h.headers == HeadersStrip && unkeyed(name) && !passed(name, t.trusted)
}

// appendVariant extends a primary key by the values of the fields that the
// resource varies on (RFC 9111 section 4.1). ok is false when a value holds a
// NUL byte.
func appendVariant(key []byte, names []string, h http.Header) (variant []byte, ok bool) {
	for _, name := range names {
		key = append(key, 0, partVary)
		key = append(key, name...)
		values, present := h[name]
		if !present {
			continue
		}
		key = append(key, '=')
		start := len(key)
		for i, v := range values {
			if i > 0 {
				key = append(key, ',')
			}
			key = appendNormalized(key, v)
		}
		if name == "Accept-Language" {
			lowerASCII(key[start:]) // language tags have no case (RFC 5646 section 2.1.1)
		}
		if slices.Contains(key[start:], 0) {
			return nil, false
		}
	}
	return key, true
}

// appendNormalized appends a field value without the whitespace around its
// commas, which RFC 9111 section 4.1 lets a cache ignore. Quoted strings are
// left alone.
func appendNormalized(buf []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	if strings.IndexByte(v, ',') < 0 || strings.IndexByte(v, '"') >= 0 {
		return append(buf, v...)
	}
	for i := 0; ; i++ {
		member, rest, more := strings.Cut(v, ",")
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, strings.Trim(member, " \t")...)
		if !more {
			return buf
		}
		v = rest
	}
}

func lowerASCII(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

// selects reports whether two requests have the same values for names, and so
// select the same variant.
func selects(names []string, a, b http.Header) bool {
	ka, okA := appendVariant(nil, names, a)
	kb, okB := appendVariant(nil, names, b)
	return okA && okB && string(ka) == string(kb)
}

// union merges the names that a resource was seen to vary on. Keying on a
// superset is safe: it can only miss more often.
func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// variants remembers, per primary key, the variants that were stored last, so
// that one resource can't fill the cache. Its memory is bounded: when a
// generation is full, the generation before it is forgotten.
type variants struct {
	limit  func() int64  // bytes that one generation may take
	charge func(n int64) // is told of the bytes that are taken, and with n < 0 given back

	mu       sync.Mutex
	young    map[string][]string // primary key to variant keys, oldest first
	old      map[string][]string
	youngLen int64 // bytes that young takes
	oldLen   int64
}

// maxVariantBytes is the most that one generation takes, however large the budget is;
// variantShare is the part of the budget, one in so many, that it takes at most.
const (
	maxVariantBytes = 8 << 20
	minVariantBytes = 64 << 10
	variantShare    = 32
)

// What an entry takes beside its text: a set its place in the map (with the map's empty
// ones) and the list's header; a variant the string's header, twice, since lists grow by
// doubling. Texts are rounded up by the allocator.
const (
	setOverhead     = 2*(16+24) + 16
	variantOverhead = 2*16 + 16
)

func setSize(primary string) int64     { return int64(len(primary))*9/8 + setOverhead }
func variantSize(variant string) int64 { return int64(len(variant))*9/8 + variantOverhead }

func newVariants(limit func() int64, charge func(n int64)) *variants {
	return &variants{limit: limit, charge: charge, young: make(map[string][]string)}
}

// variantLimit returns what one generation may take of a budget.
func variantLimit(budget int64) int64 {
	return min(max(budget/variantShare, minVariantBytes), maxVariantBytes)
}

// add records a stored variant and returns those that have to go for it, so that
// there are no more than limit: usually one at most.
func (v *variants) add(primary, variant string, limit int) (evict []string) {
	evict, taken := v.record(primary, variant, limit)
	if taken != 0 {
		v.charge(taken)
	}
	return evict
}

// record is add, and returns how many more bytes are taken.
func (v *variants) record(primary, variant string, limit int) (evict []string, taken int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.youngLen + v.oldLen
	set, ok := v.young[primary]
	if !ok {
		set = slices.Clone(v.old[primary])
		primary = strings.Clone(primary)
		v.youngLen += setSize(primary)
		for _, key := range set {
			v.youngLen += variantSize(key)
		}
	}
	if i := slices.Index(set, variant); i >= 0 {
		v.youngLen -= variantSize(variant)
		set = slices.Delete(set, i, i+1)
	}
	if n := len(set) - (limit - 1); n > 0 {
		evict = slices.Clone(set[:n])
		for _, key := range evict {
			v.youngLen -= variantSize(key)
		}
		set = slices.Delete(set, 0, n)
	}
	v.youngLen += variantSize(variant)
	v.young[primary] = append(set, strings.Clone(variant))
	if v.youngLen > v.limit() {
		v.old, v.oldLen = v.young, v.youngLen
		v.young, v.youngLen = make(map[string][]string), 0
	}
	return evict, v.youngLen + v.oldLen - before
}
