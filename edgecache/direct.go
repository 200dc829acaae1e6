package edgecache

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// pass sends a request straight to the next handler and only says so.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, why reason) error {
	s := status{forward: forwardBypass, reason: why}
	if len(r.Header["Upgrade"]) > 0 || r.Method == http.MethodConnect {
		h.metrics.count(s) // the connection may be taken over: nothing may stand between
		return next.ServeHTTP(w, r)
	}
	return next.ServeHTTP(h.note(w, r, s), r)
}

// note returns a writer that adds the outcome to the response header.
func (h *Handler) note(w http.ResponseWriter, r *http.Request, s status) *noteWriter {
	return &noteWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, h: h, r: r, status: s}
}

// noteWriter passes everything on unchanged but the field that is for this cache
// alone.
type noteWriter struct {
	*caddyhttp.ResponseWriterWrapper
	h      *Handler
	r      *http.Request
	status status
	code   int

	// When the cache acts upon the response: what it calls before the header goes
	// out, and the fields of the next handlers until then. Those that were set in
	// front of the cache are not the origin's word.
	onHeader func(code int, hd http.Header)
	header   http.Header
}

// heed has f called with the response's own header before it goes out.
func (n *noteWriter) heed(f func(code int, hd http.Header)) {
	n.onHeader, n.header = f, make(http.Header)
}

// Header implements http.ResponseWriter.
func (n *noteWriter) Header() http.Header {
	if n.header != nil {
		return n.header
	}
	return n.ResponseWriter.Header()
}

// WriteHeader implements http.ResponseWriter.
func (n *noteWriter) WriteHeader(code int) {
	switch {
	case n.code != 0:
	case code >= 200 || code == http.StatusSwitchingProtocols:
		n.code = code
		if n.onHeader != nil {
			n.onHeader(code, n.header)
		}
		n.unite()
		delete(n.Header(), ownField)
		n.h.reportOther(n.ResponseWriter, n.r, n.status)
	case n.header != nil:
		writeInterim(n.ResponseWriter, interim{code, n.header})
		return
	}
	n.ResponseWriter.WriteHeader(code)
}

// unite puts the fields of the next handlers beside those that were set in front.
func (n *noteWriter) unite() {
	if own := n.header; own != nil {
		n.header = nil
		addHeader(n.Header(), own)
	}
}

// finish is to be called with the next handler's result, which it returns: without
// a response, its fields are still the client's.
func (n *noteWriter) finish(err error) error {
	if err == nil && n.code == 0 {
		n.WriteHeader(http.StatusOK)
	}
	n.unite()
	return err
}

// Write implements http.ResponseWriter.
func (n *noteWriter) Write(p []byte) (int, error) {
	if n.code == 0 {
		n.WriteHeader(http.StatusOK)
	}
	return n.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom, which keeps sendfile.
func (n *noteWriter) ReadFrom(r io.Reader) (int64, error) {
	if n.code == 0 {
		n.WriteHeader(http.StatusOK)
	}
	return n.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError implements what http.ResponseController calls.
func (n *noteWriter) FlushError() error {
	if n.code == 0 {
		n.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(n.ResponseWriter).Flush()
}

// direct fetches on the client's own goroutine, without anybody else: for keys
// whose responses were found not to be shareable, and when collapsing is off.
// The response is still stored when it may be.
func (x *exchange) direct() error {
	h := x.h
	asked := rfc9111.Request{Method: http.MethodGet, Header: x.r.Header.Clone(), Directives: x.req.Directives}
	x.canonical()
	seq := h.shared.purges.Begin()
	defer h.shared.purges.End(seq)
	t := &teeWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: x.w},
		x:                     x, req: asked, asked: time.Now(), seq: seq, header: make(http.Header),
	}
	defer t.close()
	err := x.next.ServeHTTP(t, x.r)
	if t.stale || err != nil && t.standsIn(codeOf(err)) {
		s := status{result: ResultStale, forward: x.forward(), fwdStatus: t.code, reason: reasonStandIn, reuse: x.reuse, front: x.front}
		return h.serveObject(x.w, x.r, x.stored, s, time.Now())
	}
	if err != nil {
		if !t.wrote {
			h.reportOther(x.w, x.r, status{result: ResultError, forward: x.forward(), reuse: x.reuse, front: x.front})
		}
		return err
	}
	if !t.wrote {
		t.empty = true
		t.WriteHeader(http.StatusOK)
	}
	t.commit()
	return nil
}

// canonical takes from the client's own request what is not in the key.
func (x *exchange) canonical() {
	x.r.Host = x.target.host
	if k := x.h.keyer; k.query != nil && !k.query.forwardIgnored {
		x.r.URL.RawQuery, x.r.URL.ForceQuery = x.target.query, false
		ctx := x.r.Context()
		if original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
			ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, k.query.original(original))
			// In place: the placeholders hold on to this very request.
			*x.r = *x.r.WithContext(ctx)
		}
	}
	x.h.scrub(x.r.Header, trusted(x.r))
}

// teeWriter passes a response to the client and keeps a copy of one that may be
// stored.
type teeWriter struct {
	*caddyhttp.ResponseWriterWrapper
	x     *exchange
	req   rfc9111.Request
	asked time.Time
	seq   uint64

	header  http.Header // the response's own fields, until the header is out
	wrote   bool
	stale   bool // the stored response is served in place of a failure
	empty   bool // the next handlers wrote nothing
	code    int
	n       int64
	verdict verdict
	spool   *spool
}

// Header implements http.ResponseWriter.
func (t *teeWriter) Header() http.Header {
	if t.wrote && !t.stale {
		return t.ResponseWriter.Header()
	}
	return t.header
}

// standsIn decides whether the stored response is served in place of a failure. A
// request is here with a stored response when it has waited for another's fetch for
// too long.
func (t *teeWriter) standsIn(code int) bool {
	x := t.x
	if t.wrote || !standsIn(x.policy, &x.req, x.stored, code, time.Now()) || x.h.shared.purges.Check(x.stored) == purge.Gone {
		return false
	}
	t.wrote, t.stale, t.code = true, true, code
	return true
}

// WriteHeader implements http.ResponseWriter.
func (t *teeWriter) WriteHeader(code int) {
	if t.wrote {
		return
	}
	if code >= 100 && code < 200 {
		writeInterim(t.ResponseWriter, interim{code, t.header})
		return
	}
	x, h, now := t.x, t.x.h, time.Now()
	if code == http.StatusNotModified && !conditional(x.r.Header) {
		// Nobody asked for it, and there is no body to give.
		code, t.header = http.StatusBadGateway, make(http.Header)
	}
	if code >= 500 && t.standsIn(code) {
		return
	}
	t.wrote, t.code = true, code
	t.verdict = h.decide(x.policy, &t.req, &x.target, code, t.header, t.asked, now)
	delete(t.header, ownField)
	v := &t.verdict
	switch {
	case t.empty:
		v.store, v.reason = false, reasonNothing
	case conditional(x.r.Header) || len(x.r.Header["Range"]) > 0:
		// The client's own conditions reach the origin here.
		v.store, v.reason = false, reasonPartly
	}
	s := status{result: ResultMiss, forward: x.forward(), reason: v.reason, reuse: x.reuse, front: x.front}
	if v.store {
		t.spool = newSpool(h.shared.memory, h.stallTimeout)
		t.spool.keep(h.maxObjectSize, v.length)
		s.result, s.hasTTL, s.ttl = ResultStore, true, v.freshness.TTL(now)
	}
	if v.store && v.shared {
		h.marks.clear([]byte(x.key))
		h.marks.clear([]byte(x.key + x.class))
	}
	addHeader(t.ResponseWriter.Header(), t.header)
	h.reportOther(t.ResponseWriter, x.r, s)
	t.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (t *teeWriter) Write(p []byte) (int, error) {
	if !t.wrote {
		t.WriteHeader(http.StatusOK)
	}
	if t.stale {
		return len(p), nil
	}
	n, err := t.ResponseWriter.Write(p)
	t.n += int64(n)
	if t.spool != nil {
		if err != nil || t.spool.write(context.Background(), p[:n]) != nil || !t.spool.whole() {
			if t.spool.refused {
				t.x.h.full()
			}
			t.close()
		}
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom: straight through when nothing is kept.
func (t *teeWriter) ReadFrom(r io.Reader) (int64, error) {
	if !t.wrote {
		t.WriteHeader(http.StatusOK)
	}
	if t.spool != nil || t.stale {
		return io.Copy(struct{ io.Writer }{t}, r)
	}
	n, err := t.ResponseWriterWrapper.ReadFrom(r)
	t.n += n
	return n, err
}

// FlushError implements what http.ResponseController calls.
func (t *teeWriter) FlushError() error {
	if !t.wrote {
		t.WriteHeader(http.StatusOK)
	}
	if t.stale {
		return nil
	}
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// commit stores the response, whose end was seen and whose length is right.
func (t *teeWriter) commit() {
	x, h, v := t.x, t.x.h, &t.verdict
	if t.spool == nil || (v.length >= 0 && v.length != t.n) ||
		len(trailers(t.ResponseWriter.Header())) > 0 || x.r.Context().Err() != nil {
		return
	}
	url := x.target.url()
	key, names, ok := place(x.primary, x.names, v.vary, t.req.Header)
	if !ok {
		return
	}
	if len(names) != len(x.names) {
		h.putMarker(x.primary, names, url, t.seq)
	}
	chunks, _, reserved := t.spool.take()
	t.spool.untake(h.commit(&object.Spec{
		Key: key, URL: url, Status: t.code, Header: v.header, Freshness: v.freshness, Tags: v.tags, Seq: t.seq,
	}, chunks, reserved, x.primary))
}

// close gives up what was kept and not stored.
func (t *teeWriter) close() {
	if t.spool != nil {
		t.spool.discharge()
		t.spool = nil
	}
}
