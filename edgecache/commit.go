package edgecache

import (
	"net/http"
	"strings"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// commit stores the response whose end has been seen.
func (fe *fetch) commit() {
	f := fe.flight
	if !f.spool.whole() || len(trailers(fe.header)) > 0 {
		return
	}
	chunks, _, reserved := f.spool.take()
	unused := fe.h.commit(&object.Spec{
		Key: fe.key, URL: f.url, Status: fe.code, Header: fe.verdict.header, Freshness: fe.verdict.freshness,
		Tags: fe.verdict.tags, Seq: f.seq,
	}, chunks, reserved, fe.primary)
	f.spool.untake(unused)
}

// commit stores a complete response, taking over the reservation for its body. What
// it returns of that is still the caller's: a purge came first.
func (h *Handler) commit(s *object.Spec, chunks [][]byte, reserved int64, primary string) (unused int64) {
	o := object.New(s, chunks)
	if !h.accepts(o) {
		return reserved
	}
	if !h.shared.memory.PutReserved(o, reserved) {
		h.full()
		return 0
	}
	h.metrics.stored()
	if s.Key != primary {
		for _, evict := range h.shared.variants.add(primary, s.Key, h.MaxVariants) {
			h.shared.memory.Delete(evict)
		}
	}
	return 0
}

// place returns the key that a response is stored under: that of its resource,
// or of the variant that the request with the header hd selects, when it varies
// on known or newly named fields. ok is false when the variant can't be keyed.
func place(primary string, known, named []string, hd http.Header) (key string, names []string, ok bool) {
	names = union(known, named)
	if len(names) == 0 {
		return primary, nil, true
	}
	variant, ok := appendVariant([]byte(primary), names, hd)
	if !ok || len(variant) > maxKeyLength {
		return "", names, false
	}
	return string(variant), names, true
}

// putMarker tells later requests for a resource what to select its variant by.
func (h *Handler) putMarker(primary string, names []string, url string, seq uint64) {
	h.put(object.New(&object.Spec{Key: primary, URL: url, Kind: object.VaryMarker, Vary: names, Seq: seq}, nil))
}

// put stores an object without a body of its own making.
func (h *Handler) put(o *object.Object) {
	if h.accepts(o) && !h.shared.memory.Put(o) {
		h.full()
	}
}

// accepts reports whether no purge has hit an object on its way to the store: it
// must not take the place of what was fetched after the purge.
func (h *Handler) accepts(o *object.Object) bool {
	return h.shared.purges.Accept(o.Seq()) && h.shared.purges.Check(o) != purge.Gone
}

// drop removes a stored response, unless another has taken its place.
func (h *Handler) drop(o *object.Object) {
	if o != nil {
		h.shared.memory.Drop(o)
	}
}

// trailers returns the trailer fields that a handler set after its header.
func trailers(h http.Header) http.Header {
	var out http.Header
	add := func(name string, values []string) {
		if out == nil {
			out = make(http.Header)
		}
		out[name] = values
	}
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			add(name, values)
		}
	}
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := h[name]; ok {
				add(name, values)
			}
		}
	}
	return out
}
