package edgeapp

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// brought is what handlers in front of a cache set that decides about the
// response though no key has it: the root of files, and request fields that say
// who the client is. The keys are "root" and field names.
type brought map[string]origins

// origin is where something was set, under which conditions and matchers.
type origin struct {
	where  string
	within []condition
	around []caddyhttp.MatcherSets
}

type origins []origin

// union holds each place once.
func (os origins) union(others origins) origins {
	out := slices.Clone(os)
	for _, o := range others {
		if !slices.ContainsFunc(out, func(have origin) bool { return have.where == o.where }) {
			out = append(out, o)
		}
	}
	return out
}

// bring notes what is set at the present point, in place of what was set before,
// or with set false only forgets that.
func (w *walk) bring(in flows, name string, set bool) flows {
	out := in.clone()
	for _, f := range out {
		delete(f.brought, name)
		if set {
			f.brought[name] = origins{{w.place(), slices.Clone(w.within), slices.Clone(w.around)}}
		}
	}
	return out
}

func (w *walk) vars(h caddyhttp.VarsMiddleware, in flows) flows {
	if _, ok := h["root"]; !ok {
		return in
	}
	return w.bring(in, "root", true)
}

// identities are the placeholders by which access checks in front say who the
// client is: forward_auth's copy_headers, and the authentication of Caddy.
var identities = []string{"{http.reverse_proxy.header.", "{http.auth."}

func (w *walk) requestFields(ops *headers.HeaderOps, in flows) flows {
	if ops == nil {
		return in
	}
	for _, field := range ops.Delete {
		in = w.bring(in, http.CanonicalHeaderKey(field), false)
	}
	for _, fields := range []http.Header{ops.Set, ops.Add} {
		for _, field := range sortedKeys(fields) {
			identity := slices.ContainsFunc(identities, func(p string) bool {
				return strings.Contains(strings.Join(fields[field], " "), p)
			})
			in = w.bring(in, http.CanonicalHeaderKey(field), identity)
		}
	}
	return in
}

// checkBrought refuses a cache whose key lacks what was set in front of it.
func (w *walk) checkBrought(in flows, c *cache) {
	for _, f := range in {
		for _, name := range sortedKeys(f.brought) {
			for _, o := range f.brought[name] {
				if exclusive(o.within, w.within) {
					continue
				}
				if name == "root" {
					w.checkRoot(o, c)
				} else {
					w.checkIdentity(name, o, c)
				}
			}
		}
	}
}

// checkRoot refuses a root for some clients only, unless it is for the same ones
// as the cache.
func (w *walk) checkRoot(o origin, c *cache) {
	for i, sets := range o.around {
		if i < len(w.around) && matchersIdentity(w.around[i]) == matchersIdentity(sets) {
			continue
		}
		if what := c.info.Key.decides(sets); what != "" {
			w.fault("root at %s depends on the client (%s), which the key of edge_cache at %s does not have, so that some clients would get the files of others: "+
				"use a handle block for these clients, with an edge_cache and a namespace of its own, or make what decides part of the key (%s)",
				o.where, what, c.where, keyOption(what))
			return
		}
	}
}

// checkIdentity refuses that the origin is told who the client is when the key
// does not know it.
func (w *walk) checkIdentity(field string, o origin, c *cache) {
	k := &c.info.Key
	if slices.Contains(k.Headers, field) || k.Forwards != nil && !k.Forwards(field) {
		return
	}
	w.fault("request field %s is set at %s to what an access check says of the client, and the key of edge_cache at %s does not have it, so that the page of one user could be given to others: "+
		"add it to the key (key header %s), remove it from the requests to be cached (request_header -%s), or take these requests past the cache with a handle block",
		field, o.where, c.where, field, field)
}

func matchersIdentity(sets caddyhttp.MatcherSets) string {
	ids := make([]string, len(sets))
	for i, set := range sets {
		ids[i] = setIdentity(set)
	}
	return strings.Join(ids, " or ")
}
