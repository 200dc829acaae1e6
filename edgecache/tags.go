package edgecache

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// Limits of the tags of one response. One that exceeds them is not stored: a
// purge by the tag that was left out would not reach it.
const (
	maxTags      = 1000
	maxTagLength = 1024
)

// defaultTagHeaders are the fields that name tags: Fastly's and Varnish's, and
// Cloudflare's and Akamai's.
var defaultTagHeaders = []string{"Surrogate-Key", "Cache-Tag"}

// tagsOf returns the tags of a response: from the tag fields, whose members are
// separated by commas or spaces, and from Cache-Groups (RFC 9875), whose groups
// belong to one origin. ok is false when they exceed the limits.
func (h *Handler) tagsOf(hd http.Header, t *target) (tags []string, ok bool) {
	for _, name := range h.tagHeaders {
		for _, v := range hd[name] {
			tags = append(tags, strings.FieldsFunc(v, isTagSeparator)...)
		}
	}
	for _, group := range rfc9111.ParseCacheGroups(hd["Cache-Groups"]) {
		tags = append(tags, group, groupTag(t, group))
	}
	if h.Key.IgnoreHost {
		tags = append(tags, h.resourceTag(t))
	}
	if h.Key.IgnoreHost || h.Key.IgnoreScheme {
		tags = append(tags, sharedTag(t.requestURI()))
	}
	tooLong := func(tag string) bool { return len(tag) > maxTagLength }
	return tags, len(tags) <= maxTags && !slices.ContainsFunc(tags, tooLong)
}

// resourceTag names a resource whatever its host, for handlers that ignore the
// host: there the URL of a stored response names only the host that was asked
// first. The namespace keeps other handlers' resources out.
func (h *Handler) resourceTag(t *target) string {
	return shortTag("resource "+h.Namespace+" ", t.requestURI())
}

// sharedTag names a resource that several URLs share by its path and query alone:
// an operator who purges one of the URLs does not say whose it is.
func sharedTag(requestURI string) string { return shortTag("shared ", requestURI) }

func shortTag(kind, name string) string {
	if len(kind)+len(name) > maxTagLength {
		sum := sha256.Sum256([]byte(name))
		name = hex.EncodeToString(sum[:])
	}
	return kind + name
}

// withShared adds, to purges by URL, those of what other URLs share with it.
func withShared(ps []purge.Purge) []purge.Purge {
	all := slices.Clip(ps)
	for _, p := range ps {
		if p.Kind == purge.URL {
			all = append(all, purge.Purge{Kind: purge.Tag, Value: sharedTag(purge.Target(p.Value)), Soft: p.Soft})
		}
	}
	return all
}

// purgesOf returns the purges that take everything stored for a URL.
func (h *Handler) purgesOf(t *target, soft bool) []purge.Purge {
	url := t.url()
	if h.Key.IgnoreScheme {
		_, url, _ = strings.Cut(url, "://")
	}
	ps := []purge.Purge{{Kind: purge.URL, Value: url, Soft: soft}}
	if h.Key.IgnoreHost {
		ps = append(ps, purge.Purge{Kind: purge.Tag, Value: h.resourceTag(t), Soft: soft})
	}
	return ps
}

// groupTag is the tag of a cache group within its origin: a group of another
// origin must not be reached by Cache-Group-Invalidation.
func groupTag(t *target, group string) string {
	return "group " + t.scheme + "://" + t.host + " " + group
}

func isTagSeparator(c rune) bool { return c == ',' || c == ' ' || c == '\t' }
