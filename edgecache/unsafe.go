package edgecache

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// serveOther handles every method but GET and HEAD: it is passed on, and a
// success of an unsafe one invalidates what is stored (RFC 9111 section 4.4).
func (h *Handler) serveOther(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method == methodPurge {
		return h.servePurge(w, r)
	}
	if !rfc9111.IsUnsafe(r.Method) || r.Method == http.MethodConnect {
		return h.pass(w, r, next, reasonMethod)
	}
	t := h.keyer.targetOf(r) // before later handlers rewrite it
	n := h.note(w, r, status{forward: forwardMethod})
	// Before the client knows: it may ask for what it has changed at once.
	n.heed(func(code int, hd http.Header) { h.invalidate(r.Method, code, &t, hd) })
	return n.finish(next.ServeHTTP(n, r))
}

// invalidate purges what an unsafe request may have changed.
func (h *Handler) invalidate(method string, code int, t *target, hd http.Header) {
	u, err := url.Parse(t.url())
	if err != nil {
		return
	}
	var ps []purge.Purge
	for i, u := range rfc9111.InvalidationTargets(method, code, u, hd) {
		other := *t // the target itself, as it is keyed
		if i > 0 {
			other = target{
				scheme: u.Scheme, host: canonicalHost(u.Host, u.Scheme),
				original: joinQuery(u.EscapedPath(), h.keyer.query.apply(u.RawQuery), u.ForceQuery),
			}
		}
		ps = append(ps, h.purgesOf(&other, false)...)
	}
	if code < 400 {
		for _, group := range rfc9111.ParseCacheGroups(hd["Cache-Group-Invalidation"]) {
			ps = append(ps, purge.Purge{Kind: purge.Tag, Value: groupTag(t, group)})
		}
	}
	if len(ps) > 0 {
		h.shared.purge(ps...)
		h.metrics.purged(len(ps))
	}
}

// joinQuery keeps the question mark of an empty query that is there.
func joinQuery(path, query string, force bool) string {
	if force && query == "" {
		return path + "?"
	}
	return joinTarget(path, query)
}

// serveHead forwards a HEAD request that the store can't answer. Its response
// never becomes an entry, but says whether the stored one is still right (RFC
// 9111 section 4.3.5).
func (x *exchange) serveHead() error {
	if x.stored != nil {
		x.canonical() // what the response says will be believed
	}
	n := x.h.note(x.w, x.r, status{result: ResultMiss, forward: x.forward(), reason: reasonHead, reuse: x.reuse})
	if x.stored != nil {
		// The stored number, not a new one: a purge since then counts. Begin
		// keeps the purges from being forgotten meanwhile.
		seq := x.stored.CheckedSeq()
		defer x.h.shared.purges.End(x.h.shared.purges.Begin())
		asked := time.Now()
		n.heed(func(code int, hd http.Header) { x.freshen(code, hd, seq, asked, time.Now()) })
	}
	return n.finish(x.next.ServeHTTP(n, x.r))
}

// freshen updates or drops the stored response by what a HEAD response says.
func (x *exchange) freshen(code int, hd http.Header, seq uint64, asked, now time.Time) {
	h, o := x.h, x.stored
	req := &rfc9111.Request{Method: http.MethodGet, Header: x.r.Header, Directives: x.req.Directives}
	if h.decide(x.policy, req, &x.target, code, hd, asked, now).onlyThis {
		return
	}
	switch code {
	case o.Status():
	case http.StatusNotFound, http.StatusGone:
		h.drop(o)
		return
	default:
		return
	}
	stored := o.Header()
	stored["Content-Length"] = []string{strconv.FormatInt(o.Len(), 10)}
	if !rfc9111.HeadMatches(stored, hd) {
		h.drop(o)
		return
	}
	if hd.Get("Etag") == "" && hd.Get("Last-Modified") == "" {
		return // it may be about another version of the same length
	}
	_, v := h.refreshed(x.policy, req, &x.target, o, x.names,
		&rfc9111.Response{Status: code, Header: hd, RequestTime: asked, ResponseTime: now})
	switch {
	case v.store:
		h.put(o.WithUpdated(v.header, v.freshness, v.tags, seq))
	case !v.onlyThis:
		h.drop(o)
	}
}
