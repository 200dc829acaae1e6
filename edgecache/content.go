package edgecache

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// hasContent reports whether a request has a body. HTTP/3 does not tell before
// the body is read: there a request without Content-Length has an unknown length
// even when its stream has ended with the header, so the first byte decides. It
// stays readable.
func hasContent(r *http.Request) bool {
	if r.ContentLength == 0 && len(r.TransferEncoding) == 0 {
		return false
	}
	if r.ProtoMajor != 3 || r.ContentLength > 0 || r.Body == nil {
		return true
	}
	var first [1]byte
	n, err := r.Body.Read(first[:])
	for n == 0 && err == nil {
		n, err = r.Body.Read(first[:])
	}
	if n == 0 && errors.Is(err, io.EOF) {
		r.Body, r.ContentLength = http.NoBody, 0
		return false
	}
	r.Body = &peeked{Reader: io.MultiReader(bytes.NewReader(first[:n]), r.Body), Closer: r.Body}
	return true
}

// peeked is a body whose beginning has been read already.
type peeked struct {
	io.Reader
	io.Closer
}
