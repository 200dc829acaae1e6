package edgecache

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/internal/api"
)

// methodPurge is the request method by which allowed clients purge.
const methodPurge = "PURGE"

// maxPurges is how many purges one request may hold.
const maxPurges = 10_000

// PurgeRequest is the body of POST /edge/cache/purge. Every field adds purges;
// at least one must be there.
type PurgeRequest struct {
	// URL, Key, Tag, Host, Prefix and Wildcard purge what package purge says of
	// them; the plural forms are batches.
	URL       string   `json:"url,omitempty"`
	URLs      []string `json:"urls,omitempty"`
	Key       string   `json:"key,omitempty"`
	Keys      []string `json:"keys,omitempty"`
	Tag       string   `json:"tag,omitempty"`
	Tags      []string `json:"tags,omitempty"`
	Host      string   `json:"host,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`
	Prefix    string   `json:"prefix,omitempty"`
	Prefixes  []string `json:"prefixes,omitempty"`
	Wildcard  string   `json:"wildcard,omitempty"`
	Wildcards []string `json:"wildcards,omitempty"`

	// All purges everything; it stands alone.
	All bool `json:"all,omitempty"`

	// Soft marks responses stale instead of removing them: they are validated
	// before their next use, or served while they are refreshed or the origin
	// fails where that is allowed.
	Soft bool `json:"soft,omitempty"`
}

// purges returns the purges of the request, or an error that names the field.
func (q *PurgeRequest) purges() ([]purge.Purge, error) {
	var ps []purge.Purge
	for _, f := range []struct {
		kind   purge.Kind
		one    string
		others []string
	}{
		{purge.URL, q.URL, q.URLs}, {purge.Key, q.Key, q.Keys}, {purge.Tag, q.Tag, q.Tags},
		{purge.Host, q.Host, q.Hosts}, {purge.Prefix, q.Prefix, q.Prefixes}, {purge.Wildcard, q.Wildcard, q.Wildcards},
	} {
		if f.one != "" {
			ps = append(ps, purge.Purge{Kind: f.kind, Value: f.one, Soft: q.Soft})
		}
		for _, v := range f.others {
			ps = append(ps, purge.Purge{Kind: f.kind, Value: v, Soft: q.Soft})
		}
	}
	if q.All && len(ps) > 0 {
		return nil, fmt.Errorf("all: not with others, got %s %q too", ps[0].Kind, ps[0].Value)
	}
	if q.All {
		ps = append(ps, purge.Purge{Kind: purge.All, Soft: q.Soft})
	}
	if len(ps) == 0 {
		return nil, fmt.Errorf("nothing to purge: want url, key, tag, host, prefix, wildcard or all")
	}
	if len(ps) > maxPurges {
		return nil, fmt.Errorf("%d purges in one request: the limit is %d", len(ps), maxPurges)
	}
	for _, p := range ps {
		if err := p.Validate(); err != nil {
			return nil, err
		}
	}
	return ps, nil
}

// countLimit is the number of stored responses up to which a purge also counts
// what it hit; counting more would take longer than the purge.
const countLimit = 1000

// purgeAndCount adds purges and returns how many stored responses they hit, or
// -1 when too many are stored to be looked at.
func (s *shared) purgeAndCount(ps []purge.Purge) int {
	if s.memory.Stats().Entries > countLimit {
		s.purge(ps...)
		return -1
	}
	before := make(map[*object.Object]purge.Verdict)
	for o := range s.memory.Range {
		before[o] = s.purges.Check(o)
	}
	s.purge(ps...)
	n := 0
	for o, verdict := range before { // not the store again: the lurker may have been there
		if o.Kind() == object.Response && s.purges.Check(o) > verdict {
			n++
		}
	}
	return n
}

// servePurge handles the PURGE method: the URL of the request, or the tags in
// its Surrogate-Key or Cache-Tag field. "Edge-Purge: soft" makes it soft; whoever
// asks for anything else does not get what they mean.
func (h *Handler) servePurge(w http.ResponseWriter, r *http.Request) error {
	if !h.mayPurge(r) {
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		return caddyhttp.HandlerError{StatusCode: http.StatusMethodNotAllowed, Err: fmt.Errorf("PURGE is not allowed for this client")}
	}
	soft := false
	for _, v := range r.Header["Edge-Purge"] {
		if soft = strings.EqualFold(v, "soft"); !soft {
			return caddyhttp.HandlerError{StatusCode: http.StatusBadRequest, Err: fmt.Errorf("Edge-Purge: unknown value %q: want soft, or leave it out", v)}
		}
	}
	var ps []purge.Purge
	for _, name := range h.tagHeaders {
		for _, v := range r.Header[name] {
			for tag := range strings.FieldsFuncSeq(v, isTagSeparator) {
				ps = append(ps, purge.Purge{Kind: purge.Tag, Value: tag, Soft: soft})
			}
		}
	}
	if len(ps) == 0 {
		t := h.keyer.targetOf(r)
		ps = h.purgesOf(&t, soft)
	}
	if len(ps) > maxPurges {
		return caddyhttp.HandlerError{StatusCode: http.StatusBadRequest, Err: fmt.Errorf("%d tags in one request: the limit is %d", len(ps), maxPurges)}
	}
	n := h.shared.purgeAndCount(ps)
	announcePurge(h.logger, ps)
	return api.WriteJSON(w, newPurgeReply(n))
}

// mayPurge reports whether the client's address is allowed to purge.
func (h *Handler) mayPurge(r *http.Request) bool {
	s, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(h.purgeAllow, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// purgeReply answers a purge. Count is absent when the store is so large that
// counting would take longer than the purge.
type purgeReply struct {
	Deleted bool `json:"deleted"`
	Count   *int `json:"deleted_count,omitempty"`
}

func newPurgeReply(n int) purgeReply {
	if n < 0 {
		return purgeReply{Deleted: true}
	}
	return purgeReply{Deleted: n > 0, Count: &n}
}

// String says it in words.
func (p purgeReply) String() string {
	switch {
	case p.Count == nil:
		return "purged"
	case *p.Count == 1:
		return "purged 1 stored response"
	default:
		return fmt.Sprintf("purged %d stored responses", *p.Count)
	}
}
