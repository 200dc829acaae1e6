// Package purge keeps the purges that stored objects have not yet been checked
// against, so that a purge takes effect at once however many objects there are.
//
// Every purge gets a sequence number, and an object has the number that was
// current when its fetch started: it is purged by every matching purge with a
// greater number. An object also remembers up to which number it was checked.
// A hit therefore costs one atomic load while no purge is new to its object, and
// otherwise a few look-ups of hashes. A sweep over the store now and then drops
// what is purged, and the purges are forgotten as soon as no fetch is under way
// that began before them.
package purge

import (
	"fmt"
	"strings"
)

// Kind tells what the value of a purge is compared with.
type Kind uint8

const (
	// URL purges one absolute URL with its query, and so all variants of it:
	// "https://example.com/a?b=c". Without a scheme it matches any scheme.
	// Scheme and host are compared without regard to case, an empty path is
	// "/", a default port and a fragment are removed.
	URL Kind = iota
	// Key purges the object with exactly this cache key.
	Key
	// Tag purges the objects that have exactly this tag.
	Tag
	// Host purges a host, "example.com" or "example.com:8443". Without a port it
	// matches any port. Case does not matter.
	Host
	// Prefix purges a path and everything below it, by whole segments:
	// "example.com/blog" matches /blog, /blog/ and /blog/2024 with any query,
	// but not /blogs. A slash at the end, a scheme and a query are ignored; a
	// value that begins with a slash is for any host; a host without a port
	// matches any port. Of more than [MaxDepth] segments only the first MaxDepth
	// count, which purges more. For a plain string prefix use a Wildcard.
	Prefix
	// Wildcard purges what matches a pattern in which each "*" stands for any
	// number of characters: "*.example.com/img/*.png". What comes before the
	// first slash is compared with the host, with or without its port, in lower
	// case; the rest, which is "/*" when missing, with the path and query. A
	// pattern that begins with a slash is for any host; a scheme is ignored.
	Wildcard
	// All purges everything; the value is ignored.
	All

	numKinds = iota
)

var kindNames = [numKinds]string{"url", "key", "tag", "host", "prefix", "wildcard", "all"}

// String returns the name in lower case: "url", "key", "tag", "host", "prefix",
// "wildcard" or "all".
func (k Kind) String() string {
	if int(k) >= numKinds {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Purge says what is to be purged.
type Purge struct {
	// Kind tells what Value is compared with.
	Kind Kind
	// Value is what is purged, in the form that Kind describes.
	Value string
	// Soft keeps the objects as stale ones, to be validated before their next
	// use, or served when the origin fails. By default they are gone.
	Soft bool
}

// Validate returns an error when the kind is unknown, or the value is missing or
// names more than a purge of that kind looks at.
func (p Purge) Validate() error {
	switch {
	case int(p.Kind) >= numKinds:
		return fmt.Errorf("unknown kind of purge %d", p.Kind)
	case p.Kind == All:
		return nil
	case p.Value == "":
		return fmt.Errorf("purge by %s without a value", p.Kind)
	case p.Kind == URL && (strings.HasPrefix(p.Value, "/") || strings.HasPrefix(p.Value, "?")):
		return fmt.Errorf("purge by url: %q names no host: want https://example.com/path", p.Value)
	case p.Kind == Host && strings.ContainsAny(p.Value, "/?#*"):
		return fmt.Errorf("purge by host: %q is not a host", p.Value)
	default:
		return nil
	}
}

// Verdict is what the purges say about an object.
type Verdict uint8

const (
	// Live means that no purge concerns the object.
	Live Verdict = iota
	// Soft means that a soft purge does: the object is marked stale.
	Soft
	// Gone means that the object must not be used any more.
	Gone
)

// String returns "live", "soft" or "gone".
func (v Verdict) String() string {
	switch v {
	case Live:
		return "live"
	case Soft:
		return "soft"
	default:
		return "gone"
	}
}
