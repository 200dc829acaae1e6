package edgewaf

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/caddyedge/caddy-edge/edgewaf/content"
)

// BodyOptions say how the content of requests is looked at. However much that is, the
// handlers behind get all of it as it came.
type BodyOptions struct {
	// Limit is how many bytes of content are looked at, before and after decoding it.
	// -1 is none. Default: 131072.
	Limit int64 `json:"limit,omitempty"`
	// OnLimit says what is done with longer content: "pass" hands it on with its
	// beginning looked at, "reject" refuses it with 413. Default: pass.
	OnLimit string `json:"on_limit,omitempty"`
	// Decode has content codings undone (gzip, deflate, br, zstd), for origins that undo
	// them too: others would read what nobody looked at. Default: false; then the Core
	// Rule Set refuses content that has one (rule 920450).
	Decode bool `json:"decode,omitempty"`
}

// DefaultBodyLimit is how much content is looked at: 128 KiB.
const DefaultBodyLimit = 128 << 10

// Values of OnLimit and OnBudget.
const (
	OnPass   = "pass"
	OnReject = "reject"
)

// requestBody is what was read of the content of a request.
type requestBody struct {
	kind content.Kind
	// raw is the beginning as it came, which the handlers behind get again.
	raw []byte
	// seen is what is looked at: decoded, and completed where it was cut.
	seen []byte
	// long: there is more than is looked at. cut: that, or it broke off.
	long, cut bool
	// decoded: there was a coding, and it was undone.
	decoded bool
}

// readBody reads the beginning of the content, and leaves the request with all of it. An
// error of reading is kept for the handlers behind, for whom it comes at the same place.
func readBody(r *http.Request, limit int64, decode bool) *requestBody {
	b := &requestBody{kind: kindOf(r)}
	if r.Body == nil || r.Body == http.NoBody || limit <= 0 || b.kind == content.Stream {
		return b
	}
	// One byte more than the limit tells whether there is more.
	size := limit + 1
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	var (
		buf bytes.Buffer
		err error
	)
	if r.ContentLength >= 0 {
		// What is only claimed takes no memory yet.
		buf.Grow(int(min(size, 16<<10)) + bytes.MinRead)
	}
	_, err = io.Copy(&buf, io.LimitReader(r.Body, size))
	raw := buf.Bytes()
	b.raw, b.long = raw, int64(len(raw)) > limit
	b.cut = b.long || err != nil
	r.Body = &replay{head: raw, rest: r.Body, err: err}
	b.look(r.Header, raw[:min(int64(len(raw)), limit)], limit, decode)
	return b
}

// look makes of the raw content what is looked at.
func (b *requestBody) look(header http.Header, raw []byte, limit int64, decode bool) {
	b.seen = raw
	cut := b.cut
	if codings := content.Codings(header.Values("Content-Encoding")); decode && len(codings) > 0 && len(raw) > 0 {
		decoded, whole, err := content.Decode(codings, raw, cut, limit)
		if err != nil {
			b.seen = nil // nobody can look at it, and the rule set refuses the coding
			return
		}
		b.seen, cut, b.decoded = decoded, !whole, true
		b.cut, b.long = b.cut || cut, b.long || cut
	}
	if b.kind == content.Text && looksLikeJSON(b.seen) {
		// Scripts send JSON as text to spare themselves a preflight request, and there are
		// origins that read it whatever its type.
		whole := b.seen
		if cut {
			whole = content.Mend(content.JSON, "", whole)
		}
		if json.Valid(whole) {
			b.kind, b.seen = content.JSON, whole
			return
		}
	}
	if cut {
		b.seen = content.Mend(b.kind, content.Boundary(header.Get("Content-Type")), b.seen)
	}
}

// kindOf is the form of the content of a request. What is called a stream is one where it
// can be: in HTTP/2 and later, and gRPC says there that it takes trailers.
func kindOf(r *http.Request) content.Kind {
	contentType := r.Header.Get("Content-Type")
	kind := content.KindOf(contentType)
	switch {
	case kind != content.Stream:
	case r.ProtoMajor < 2, strings.HasPrefix(strings.ToLower(contentType), "application/grpc") && !strings.EqualFold(r.Header.Get("Te"), "trailers"):
		return content.Text
	}
	return kind
}

// looksLikeJSON reports whether a text begins as JSON does that has members.
func looksLikeJSON(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

// replay is content whose beginning was read before.
type replay struct {
	head []byte
	rest io.ReadCloser
	err  error // after the head
}

// Read implements io.Reader.
func (b *replay) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.rest.Read(p)
}

// WriteTo implements io.WriterTo.
func (b *replay) WriteTo(w io.Writer) (int64, error) {
	var n int64
	if len(b.head) > 0 {
		m, err := w.Write(b.head)
		b.head, n = b.head[m:], int64(m)
		if err != nil {
			return n, err
		}
	}
	if b.err != nil {
		return n, b.err
	}
	m, err := io.Copy(w, b.rest)
	return n + m, err
}

// Close implements io.Closer.
func (b *replay) Close() error { return b.rest.Close() }
