package object

import (
	"errors"
	"io"
)

var (
	errSeek   = errors.New("object: seek before the start of the body")
	errWhence = errors.New("object: seek with an unknown whence")
)

// Reader reads the body of an object. It implements io.ReadSeeker and
// io.WriterTo and is not safe for concurrent use; an object may have many.
type Reader struct {
	flat   []byte
	chunks [][]byte
	size   int64
	off    int64 // position in the body
	index  int   // chunk that holds off
	within int   // position in that chunk
}

// NewReader returns a reader that starts at off, a position from 0 to Len; one
// outside is moved to the nearer end.
func (o *Object) NewReader(off int64) *Reader {
	r := &Reader{size: o.Len()}
	r.flat, r.chunks = o.Body()
	r.seek(min(max(off, 0), r.size))
	return r
}

// seek moves to an offset that is not negative.
func (r *Reader) seek(off int64) {
	r.off, r.index, r.within = off, 0, 0
	if r.flat != nil || off >= r.size {
		return
	}
	for off >= int64(len(r.chunks[r.index])) {
		off -= int64(len(r.chunks[r.index]))
		r.index++
	}
	r.within = int(off)
}

// rest returns what can be read without moving to another chunk; it is empty
// only at the end of the body.
func (r *Reader) rest() []byte {
	if r.off >= r.size {
		return nil
	}
	if r.flat != nil {
		return r.flat[r.off:]
	}
	for r.within == len(r.chunks[r.index]) {
		r.index++
		r.within = 0
	}
	return r.chunks[r.index][r.within:]
}

func (r *Reader) advance(n int) {
	r.off += int64(n)
	r.within += n
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	rest := r.rest()
	if len(rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, rest)
	r.advance(n)
	return n, nil
}

// Seek implements io.Seeker. A position behind the end is allowed and reads as
// the end.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.size
	default:
		return 0, errWhence
	}
	if offset < 0 {
		return 0, errSeek
	}
	r.seek(offset)
	return offset, nil
}

// WriteTo implements io.WriterTo. It hands the stored chunks to w, which must
// not change or keep them.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		rest := r.rest()
		if len(rest) == 0 {
			return total, nil
		}
		n, err := w.Write(rest)
		r.advance(n)
		total += int64(n)
		if err == nil && n < len(rest) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, err
		}
	}
}
