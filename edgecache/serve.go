package edgecache

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// serveObject answers a GET or HEAD request from a stored response.
func (h *Handler) serveObject(w http.ResponseWriter, r *http.Request, o *object.Object, s status, now time.Time) error {
	fr := freshnessOf(o)
	s.age = max(int64(fr.Age(now)/time.Second), 0)
	s.ttl, s.hasTTL = fr.TTL(now), true

	p := &reply{status: s}
	hd := w.Header()
	fields := p.fields[:0]
	if meets(hd, o) {
		fields = fillBeside(hd, o, fields)
	} else {
		fields = o.FillHeader(hd, fields)
	}
	text := strconv.AppendInt(p.text[:0], s.age, 10)
	fields = append(fields, stringOf(text))
	hd["Age"] = fields[len(fields)-1 : len(fields) : len(fields)]
	text = h.report(p, hd, text, r)

	code := o.Status()
	if code == http.StatusOK && conditional(r.Header) {
		if code = rfc9111.Precondition(r.Header, hd, true); code == 0 {
			code = http.StatusOK
		}
	}
	switch {
	case code == http.StatusNotModified:
		writeNotModified(w)
		return nil
	case code == http.StatusPreconditionFailed:
		return writeFailed(w)
	case code == http.StatusOK && asksRange(r.Header) && r.Method == http.MethodGet:
		serveRange(w, r, o.NewReader(0))
		return nil
	}
	if bodyAllowed(code) {
		length := strconv.AppendInt(text[len(text):], o.Len(), 10)
		fields = append(fields, stringOf(length))
		hd["Content-Length"] = fields[len(fields)-1 : len(fields) : len(fields)]
	}
	w.WriteHeader(code)
	if r.Method == http.MethodHead || o.Len() == 0 {
		return nil
	}
	if flat, chunks := o.Body(); chunks == nil {
		_, _ = w.Write(flat)
	} else {
		writeChunks(w, r, chunks)
	}
	return nil
}

// fillBeside adds the fields of a stored response to a header map in which other
// handlers have put theirs. Lists grow, as they do in Caddy's own proxy; fields
// that can only stand once are replaced.
func fillBeside(hd http.Header, o *object.Object, backing []string) []string {
	stored := make(http.Header, o.NumFields())
	backing = o.FillHeader(stored, backing)
	addHeader(hd, stored)
	return backing
}

// meets reports whether a list has members in the header map and in a stored
// response, so that they have to be joined.
func meets(hd http.Header, o *object.Object) bool {
	for name := range hd {
		if !single[name] && o.Get(name) != "" {
			return true
		}
	}
	return false
}

// addHeader merges the fields of a response into the reply's header map.
func addHeader(dst, src http.Header) {
	for name, values := range src {
		if have, ok := dst[name]; ok && !single[name] {
			dst[name] = append(slices.Clip(have), values...)
			continue
		}
		dst[name] = slices.Clone(values) // handlers in front may change them in place
	}
}

// single are the fields that a response carries once.
var single = map[string]bool{
	"Server": true, "Date": true, "Content-Type": true, "Content-Length": true, "Etag": true, "Last-Modified": true,
	"Expires": true, "Age": true, "Location": true, "Content-Encoding": true, "Content-Range": true,
	"Retry-After": true, "Accept-Ranges": true,
}

// conditional reports whether a request has preconditions.
func conditional(h http.Header) bool {
	return len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0 ||
		len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0
}

// bodyAllowed reports whether a response with the status has content.
func bodyAllowed(code int) bool {
	return code >= 200 && code != http.StatusNoContent && code != http.StatusNotModified
}

// writeNotModified sends 304 with the fields that RFC 9110 section 15.4.5 wants.
func writeNotModified(w http.ResponseWriter) {
	dropContentFields(w.Header())
	w.WriteHeader(http.StatusNotModified)
}

// writeFailed sends 412.
func writeFailed(w http.ResponseWriter) error {
	dropContentFields(w.Header())
	w.Header().Del("Etag")
	w.WriteHeader(http.StatusPreconditionFailed)
	return nil
}

func dropContentFields(hd http.Header) {
	delete(hd, "Content-Length")
	delete(hd, "Content-Type")
	delete(hd, "Content-Encoding")
	delete(hd, "Content-Range")
}

// The growth of writes to a client that takes them quickly.
const (
	minWrite  = 64 << 10
	maxWrite  = 2 << 20
	fastWrite = 50 * time.Millisecond
)

// writeChunks sends a large body. Caddy bounds each write to a client by the
// idle timeout and therefore splits it; larger pieces cost less, but a piece
// that a slow client can't take within the timeout would truncate the body. So
// the pieces grow only while the client takes them at once.
func writeChunks(w http.ResponseWriter, r *http.Request, chunks [][]byte) {
	_, idle := caddyhttp.IdleTimeoutsFromContext(r.Context())
	if idle == nil {
		for _, c := range chunks {
			if _, err := w.Write(c); err != nil {
				return
			}
		}
		return
	}
	before := idle.MaxChunk
	defer func() { idle.MaxChunk = before }()
	size := minWrite
	for _, c := range chunks {
		for len(c) > 0 {
			n := min(size, len(c))
			idle.MaxChunk = n
			start := time.Now()
			if _, err := w.Write(c[:n]); err != nil {
				return
			}
			c = c[n:]
			switch {
			case time.Since(start) >= fastWrite:
				size = minWrite
			case n == size: // the rest of a chunk says nothing about larger pieces
				size = min(size*4, maxWrite)
			}
		}
	}
}

// report tells the outcome: in the reply's header, to the log, the placeholders
// and the metrics. text is memory that may be appended to; it is returned.
func (h *Handler) report(p *reply, hd http.Header, text []byte, r *http.Request) []byte {
	h.metrics.count(p.status)
	if h.statusField != "" {
		start := len(text)
		text = p.status.append(text, h.name)
		if own := stringOf(text[start:]); len(hd[h.statusField]) > 0 {
			hd[h.statusField] = append(hd[h.statusField], own)
		} else {
			p.own[0] = own
			hd[h.statusField] = p.own[:]
		}
	}
	if h.DebugHeaders {
		hd["X-Edge-Cache"] = []string{debugNames[p.status.result]}
		if p.status.hasTTL {
			hd["X-Edge-Cache-Ttl"] = []string{strconv.FormatInt(max(p.status.ttl, 0), 10)}
		}
		if p.status.age >= 0 {
			hd["X-Edge-Cache-Age"] = []string{strconv.FormatInt(p.status.age, 10)}
		}
	}
	ctx := r.Context()
	if front := p.status.front; front != nil {
		front.reply.Store(p)
	} else if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(p.placeholder)
	}
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && srv.Logs != nil {
		if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
			extra.Set(zap.String("edge_cache", p.status.result.String()))
			for _, f := range [...]struct {
				name string
				why  reason
			}{{"edge_cache_detail", p.status.detail()}, {"edge_cache_reason", p.status.reuse}, {"edge_cache_source", p.status.source()}} {
				if f.why != noReason {
					extra.Set(zap.String(f.name, f.why.String()))
				}
			}
			if p.status.age >= 0 {
				extra.Set(zap.Int64("edge_cache_age", p.status.age))
			}
		}
	}
	annotateSpan(ctx, &p.status)
	return text
}

// reportOther tells the outcome of a request that is not answered from the store.
func (h *Handler) reportOther(w http.ResponseWriter, r *http.Request, s status) {
	p := &reply{status: s}
	p.status.age = -1
	h.report(p, w.Header(), p.text[:0], r)
}
