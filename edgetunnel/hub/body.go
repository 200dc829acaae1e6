package hub

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"golang.org/x/net/http/httpguts"
)

const (
	// copySize is how much of a body is sent in one piece.
	copySize = 32 << 10
	// chunkHead is the room in front of a piece for its size.
	chunkHead = 16
)

var copies = sync.Pool{New: func() any { return new([chunkHead + copySize + 2]byte) }}

// sendBody copies the body of a request to w as f says, and closes it.
func sendBody(w io.Writer, r *http.Request, f framing) (err error) {
	defer func() { err = errors.Join(err, r.Body.Close()) }()
	buf := copies.Get().(*[chunkHead + copySize + 2]byte)
	defer copies.Put(buf)
	var sent int64
	for {
		n, readErr := r.Body.Read(buf[chunkHead : chunkHead+copySize])
		if sent += int64(n); f == byLength && sent > r.ContentLength {
			return errLong
		}
		if n > 0 {
			if err := sendPiece(w, buf, n, f); err != nil {
				return err
			}
		}
		switch {
		case readErr == nil:
		case errors.Is(readErr, io.EOF):
			if f == byLength && sent < r.ContentLength {
				return errShort
			}
			return sendEnd(w, r, f)
		default:
			return bodyError{readErr}
		}
	}
}

// sendPiece sends n bytes, with their size around if they are a chunk.
func sendPiece(w io.Writer, buf *[chunkHead + copySize + 2]byte, n int, f framing) error {
	from, to := chunkHead, chunkHead+n
	if f == chunked {
		var size [chunkHead]byte
		head := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
		from -= copy(buf[chunkHead-len(head):], head)
		to += copy(buf[to:], "\r\n")
	}
	_, err := w.Write(buf[from:to])
	return err
}

// sendEnd sends what comes after the last chunk: the trailer, whose values are known by
// then.
func sendEnd(w io.Writer, r *http.Request, f framing) error {
	if f != chunked {
		return nil
	}
	b, err := appendFields([]byte("0\r\n"), r.Trailer, func(name string) bool { return !httpguts.ValidTrailerHeader(name) })
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, "\r\n"...))
	return err
}

// bodyError is that of a body which could not be read: nothing that the agent can help.
type bodyError struct{ err error }

func (e bodyError) Error() string { return fmt.Sprintf("reading the body of the request: %v", e.err) }
func (e bodyError) Unwrap() error { return e.err }
