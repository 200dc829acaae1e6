package edgecache

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// maxRangeStart is how far into a response a range may begin for a miss to fetch
// the whole; beyond it the client would wait for bytes it did not ask for.
const maxRangeStart = 1 << 20

// serveRange answers a request with Range from a whole 200 response, whose
// header is in place. net/http does single and multiple ranges and 416 as RFC
// 9110 section 14 has them.
func serveRange(w http.ResponseWriter, r *http.Request, body io.ReadSeeker) {
	hd := w.Header()
	if _, ok := hd["Content-Type"]; !ok {
		hd["Content-Type"] = nil // keeps it from guessing
	}
	delete(hd, "Content-Length")
	modified, _ := http.ParseTime(hd.Get("Last-Modified"))
	plain := r.Clone(r.Context())
	if !rfc9111.IfRange(r.Header, hd) {
		delete(plain.Header, "Range")
	}
	for _, name := range conditionals {
		if name != "Range" {
			delete(plain.Header, name) // evaluated already
		}
	}
	http.ServeContent(w, plain, "", modified, body)
}

// asksRange reports whether a request asks for ranges in bytes; every other unit
// is ignored (RFC 9110 section 14.2).
func asksRange(h http.Header) bool {
	field := h["Range"]
	return len(field) > 0 && strings.HasPrefix(field[0], "bytes=")
}

// startsWithin reports whether a Range field asks for bytes that begin early
// enough to fetch the whole response for them. A suffix range does not.
func startsWithin(field string, limit int64) bool {
	spec, ok := strings.CutPrefix(field, "bytes=")
	if !ok {
		return false
	}
	first, _, _ := strings.Cut(spec, "-")
	n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	return err == nil && n >= 0 && n < limit
}

// spoolSeeker is a spool of known length as the ReadSeeker that ranges are cut
// from; Read waits for the bytes to arrive.
type spoolSeeker struct {
	ctx    context.Context
	spool  *spool
	reader *spoolReader
	length int64
	pos    int64
	err    error
}

func (s *spoolSeeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.length
	}
	s.pos = offset
	return offset, nil
}

func (s *spoolSeeker) Read(p []byte) (int, error) {
	if s.pos >= s.length {
		return 0, io.EOF
	}
	s.spool.skip(s.reader, s.pos)
	data, _, err := s.spool.next(s.ctx, s.reader)
	if err != nil {
		s.err = err
		return 0, err
	}
	n := copy(p, data)
	s.pos += int64(n)
	s.spool.advance(s.reader, n, time.Now())
	return n, nil
}
