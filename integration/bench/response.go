package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// readerSize is the buffer of a client: large, so that big bodies are read with
// few system calls.
const readerSize = 64 << 10

// maxHeadLines bounds the lines of one response head.
const maxHeadLines = 200

// errMalformed is a response that the reader does not understand.
var errMalformed = errors.New("malformed response")

// responseReader reads HTTP/1.1 responses to GET requests from one connection.
// It knows only what the benchmarks need, so that the generator costs little
// beside the server that shares its processors.
type responseReader struct {
	br   *bufio.Reader
	head responseHead
}

// responseHead is what the reader keeps of a response head. Its slices are valid
// until the next response.
type responseHead struct {
	status      int
	length      int64 // -1: until the end of the connection, or chunked
	chunked     bool
	last        bool // the connection ends with this response
	cacheStatus []byte
}

func newResponseReader(r io.Reader) *responseReader {
	return &responseReader{br: bufio.NewReaderSize(r, readerSize)}
}

// readHead reads the next final response head; interim responses are skipped.
func (r *responseReader) readHead() (*responseHead, error) {
	for range maxHeadLines {
		if err := r.readOneHead(); err != nil {
			return nil, err
		}
		if r.head.status >= 200 {
			return &r.head, nil
		}
	}
	return nil, fmt.Errorf("%w: too many interim responses", errMalformed)
}

func (r *responseReader) readOneHead() error {
	line, err := r.line()
	if err != nil {
		return err
	}
	h := &r.head
	*h = responseHead{length: -1, cacheStatus: h.cacheStatus[:0]}
	if h.status, err = parseStatusLine(line); err != nil {
		return err
	}
	for range maxHeadLines {
		line, err := r.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return h.finish()
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
			return fmt.Errorf("%w: field line %q", errMalformed, line)
		}
		if err := h.field(name, bytes.Trim(value, " \t")); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: too many fields", errMalformed)
}

// parseStatusLine returns the code of "HTTP/1.1 200 OK".
func parseStatusLine(line []byte) (int, error) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 3 || (len(rest) > 3 && rest[3] != ' ') {
		return 0, fmt.Errorf("%w: status line %q", errMalformed, line)
	}
	code, err := strconv.ParseUint(string(rest[:3]), 10, 16)
	if err != nil || code < 100 {
		return 0, fmt.Errorf("%w: status line %q", errMalformed, line)
	}
	return int(code), nil
}

// field takes what matters of one field.
func (h *responseHead) field(name, value []byte) error {
	switch {
	case equalFold(name, "content-length"):
		n, err := strconv.ParseUint(string(value), 10, 62)
		if err != nil || h.length >= 0 {
			return fmt.Errorf("%w: Content-Length %q", errMalformed, value)
		}
		h.length = int64(n)
	case equalFold(name, "transfer-encoding"):
		if !equalFold(value, "chunked") || h.chunked {
			return fmt.Errorf("%w: Transfer-Encoding %q", errMalformed, value)
		}
		h.chunked = true
	case equalFold(name, "connection"):
		h.last = h.last || equalFold(value, "close")
	case equalFold(name, "cache-status"):
		h.cacheStatus = append(h.cacheStatus, value...)
	}
	return nil
}

// equalFold compares with a lower-case ASCII name.
func equalFold(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

// finish checks the framing of a whole head.
func (h *responseHead) finish() error {
	switch {
	case h.chunked && h.length >= 0:
		return fmt.Errorf("%w: chunked with a length", errMalformed)
	case h.status < 200 || h.status == 204 || h.status == 304:
		h.length, h.chunked = 0, false
	case !h.chunked && h.length < 0:
		h.last = true
	}
	return nil
}

// readBody reads the body of the head that was read last and returns its length.
// each, when not nil, gets it piece by piece.
func (r *responseReader) readBody(each func([]byte)) (n int64, err error) {
	switch {
	case r.head.chunked:
		return r.readChunks(each)
	case r.head.length >= 0:
		return r.take(r.head.length, each)
	}
	for {
		if _, err := r.br.Peek(1); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		m, err := r.take(int64(r.br.Buffered()), each)
		n += m
		if err != nil {
			return n, err
		}
	}
}

// readChunks reads a chunked body with its trailers.
func (r *responseReader) readChunks(each func([]byte)) (n int64, err error) {
	for {
		line, err := r.line()
		if err != nil {
			return n, err
		}
		size, err := strconv.ParseUint(string(line), 16, 62)
		if err != nil {
			return n, fmt.Errorf("%w: chunk size %q", errMalformed, line)
		}
		if size == 0 {
			return n, r.skipTrailers()
		}
		m, err := r.take(int64(size), each)
		n += m
		if err != nil {
			return n, err
		}
		if line, err = r.line(); err != nil {
			return n, err
		} else if len(line) != 0 {
			return n, fmt.Errorf("%w: chunk longer than its size", errMalformed)
		}
	}
}

func (r *responseReader) skipTrailers() error {
	for range maxHeadLines {
		if line, err := r.line(); err != nil || len(line) == 0 {
			return err
		}
	}
	return fmt.Errorf("%w: too many trailers", errMalformed)
}

// take reads n bytes of a body.
func (r *responseReader) take(n int64, each func([]byte)) (taken int64, err error) {
	for taken < n {
		if _, err := r.br.Peek(1); err != nil {
			return taken, unexpected(err)
		}
		p, _ := r.br.Peek(int(min(n-taken, int64(r.br.Buffered()))))
		if each != nil {
			each(p)
		}
		_, _ = r.br.Discard(len(p))
		taken += int64(len(p))
	}
	return taken, nil
}

// line reads one line and cuts its CRLF off.
func (r *responseReader) line() ([]byte, error) {
	line, err := r.br.ReadSlice('\n')
	if err != nil {
		return nil, unexpected(err)
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return nil, fmt.Errorf("%w: bare line feed", errMalformed)
	}
	return line, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
