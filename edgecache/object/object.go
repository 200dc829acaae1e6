// Package object holds one stored response in as little memory as possible.
//
// An [Object] is immutable but for a few atomic marks. Its key, URL, header
// fields, tags and, up to [FlatLimit] bytes, its body lie in one exactly sized
// allocation without pointers; strings that the accessors return point into it.
// They stay valid for ever, but each keeps the whole record alive: copy one
// (strings.Clone) that is to outlive the response it came from.
package object

import (
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// FlatLimit is the longest body, in bytes, that lies in the record itself.
// A longer one stays in the chunks it came in.
const FlatLimit = 32 << 10

// Kind tells what an object stands for.
type Kind uint8

const (
	// Response is a stored response; the zero value.
	Response Kind = iota
	// VaryMarker stands under the primary key of a resource whose responses
	// have a Vary field, and tells which request fields select among them.
	VaryMarker
)

// String returns "response" or "vary".
func (k Kind) String() string {
	if k == VaryMarker {
		return "vary"
	}
	return "response"
}

// Spec is what an object is made of. New copies what it needs: the caller may
// change or reuse everything in it afterwards.
type Spec struct {
	// Key is the cache key.
	Key string
	// URL is the absolute URL as operators purge it, "https://host/path?query".
	// It costs nothing when the key contains it.
	URL string
	// Status is the status code of the response.
	Status int
	// Header is the header to be stored; names are brought to canonical form.
	Header http.Header
	// Freshness is what the policy computed when the response arrived.
	Freshness rfc9111.Freshness
	// Tags are the tags by which the object can be purged.
	Tags []string
	// Vary lists the request fields of a VaryMarker.
	Vary []string
	// Seq is the purge sequence number taken when the fetch started: every
	// purge with a greater number concerns this object.
	Seq uint64
	// Kind tells what the object stands for.
	Kind Kind
}

// Object is one stored response. It is safe for concurrent use.
type Object struct {
	rec       string // key, URL if not in the key, fields, tags, vary, flat body
	large     *body  // nil for a flat body
	freshness rfc9111.Freshness
	seq       uint64

	keyEnd, urlOff, urlEnd, tagOff, varyOff, bodyOff uint32

	numFields uint32
	status    uint16
	kind      Kind

	checked atomic.Uint64
	hits    atomic.Uint32
	stale   atomic.Uint32 // whole seconds from the response to MarkStale, plus one
}

// New makes an object of s and the chunks of its body. A body of up to
// FlatLimit bytes is copied; the chunks of a longer one are taken over and must
// not be changed any more.
func New(s *Spec, chunks [][]byte) *Object {
	var size int64
	for _, c := range chunks {
		size += int64(len(c))
	}
	if size > FlatLimit {
		return build(s, nil, newBody(chunks, size))
	}
	return build(s, chunks, nil)
}

// WithUpdated returns a copy of o that a validation has brought up to date: it
// has the given header, freshness, tags and purge sequence number, and is not
// stale.
// Key, URL, status and hits are kept. A long body is shared, a flat one copied.
func (o *Object) WithUpdated(header http.Header, f rfc9111.Freshness, tags []string, seq uint64) *Object {
	s := &Spec{
		Key: o.Key(), URL: o.URL(), Status: o.Status(), Header: header,
		Freshness: f, Tags: tags, Seq: seq, Kind: o.kind,
	}
	for name := range o.Vary {
		s.Vary = append(s.Vary, name)
	}
	flat, _ := o.Body()
	n := build(s, [][]byte{flat}, o.large)
	n.hits.Store(o.hits.Load())
	return n
}

// Key returns the cache key.
func (o *Object) Key() string { return o.rec[:o.keyEnd] }

// URL returns the absolute URL as operators purge it.
func (o *Object) URL() string { return o.rec[o.urlOff:o.urlEnd] }

// Status returns the status code.
func (o *Object) Status() int { return int(o.status) }

// Kind tells what the object stands for.
func (o *Object) Kind() Kind { return o.kind }

// Freshness returns what the policy computed when the response arrived.
func (o *Object) Freshness() rfc9111.Freshness { return o.freshness }

// Tags yields the tags in the order they were given.
func (o *Object) Tags(yield func(string) bool) {
	o.list(o.tagOff, o.varyOff, yield)
}

// HasTags reports whether there is any tag.
func (o *Object) HasTags() bool { return o.tagOff != o.varyOff }

// Vary yields the request fields that a VaryMarker names.
func (o *Object) Vary(yield func(string) bool) {
	o.list(o.varyOff, o.bodyOff, yield)
}

// Seq returns the purge sequence number taken when the fetch started.
func (o *Object) Seq() uint64 { return o.seq }

// CheckedSeq returns the last purge sequence number that the object was found
// to have survived; at first Seq.
func (o *Object) CheckedSeq() uint64 { return o.checked.Load() }

// SetCheckedSeq records that the object survived every purge up to seq. It
// never goes back.
func (o *Object) SetCheckedSeq(seq uint64) {
	for {
		old := o.checked.Load()
		if seq <= old || o.checked.CompareAndSwap(old, seq) {
			return
		}
	}
}

// Touch counts one hit.
func (o *Object) Touch() { o.hits.Add(1) }

// Hits returns how often Touch was called, modulo 2^32.
func (o *Object) Hits() uint32 { return o.hits.Load() }

// MarkStale makes the object stale from now on, whatever its freshness says (a
// soft purge). Only the first call counts.
func (o *Object) MarkStale(now time.Time) {
	after := max(0, now.UnixMilli()-o.freshness.ResponseTime) / 1000
	o.stale.CompareAndSwap(0, uint32(min(after, math.MaxUint32-1))+1)
}

// Stale reports whether MarkStale was called.
func (o *Object) Stale() bool { return o.stale.Load() != 0 }

// StaleSince returns when MarkStale was called, less a part of a second. ok is
// false when it was not.
func (o *Object) StaleSince() (since time.Time, ok bool) {
	after := o.stale.Load()
	if after == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(o.freshness.ResponseTime + int64(after-1)*1000), true
}
