package edgecache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// spoolReader is one client's place in a spool.
type spoolReader struct {
	pos     int64
	moved   time.Time
	dropped bool
}

// join adds a reader at the start; it fails when the start is gone, or no longer
// charged.
func (s *spool) join(now time.Time) (*spoolReader, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base > 0 || s.leaving && len(s.readers) == 0 {
		return nil, false
	}
	r := &spoolReader{moved: now}
	s.readers[r] = struct{}{}
	return r, true
}

// leave removes a reader and returns how many are left.
func (s *spool) leave(r *spoolReader) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
	s.trimLocked()
	if s.leaving {
		s.settleLocked()
	}
	s.broadcastLocked()
	return len(s.readers)
}

// next returns the bytes behind the reader's place, waiting for the producer.
// last says that nothing follows them now: the caller flushes. It returns
// io.EOF at the end of a complete body.
func (s *spool) next(ctx context.Context, r *spoolReader) (data []byte, last bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if r.dropped {
			return nil, false, errStalled
		}
		if r.pos < s.base {
			return nil, false, errBehind
		}
		if r.pos < s.size {
			data = s.atLocked(r.pos)
			return data, r.pos+int64(len(data)) == s.size && !s.ended, nil
		}
		if s.ended {
			if s.err != nil {
				return nil, false, s.err
			}
			return nil, false, io.EOF
		}
		ch := s.changedLocked()
		s.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
	}
}

// advance moves the reader's place after its client took n bytes.
func (s *spool) advance(r *spoolReader, n int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.pos += int64(n)
	r.moved = now
	if s.window > 0 {
		s.trimLocked()
		s.broadcastLocked()
	}
}

// skip moves a reader forward before it reads, for a range.
func (s *spool) skip(r *spoolReader, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.pos = to
	if s.window > 0 {
		s.trimLocked()
		s.broadcastLocked() // the producer may be waiting for this reader
	}
}

// silent reports whether a response of unknown length has not begun yet: it may
// be an event stream, whose client waits for the header.
func (s *spool) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hint < 0 && s.size == 0 && !s.ended
}

func (s *spool) atLocked(pos int64) []byte {
	off := s.base
	for _, c := range s.chunks {
		if pos < off+int64(len(c)) {
			return c[pos-off:]
		}
		off += int64(len(c))
	}
	return nil
}

// copyTo writes the spool to a client, flushing whenever it has caught up. Before
// the bytes up to length, the announced one, it calls settle. An error says that
// the client did not get the whole body.
func (s *spool) copyTo(ctx context.Context, w http.ResponseWriter, r *spoolReader, length int64, settle func()) error {
	rc := http.NewResponseController(w)
	if s.silent() {
		if err := flush(rc); err != nil {
			return err
		}
	}
	for {
		data, last, err := s.next(ctx, r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(data) > minWrite {
			// A slow client takes long for a large piece, and would look stalled.
			data, last = data[:minWrite], false
		}
		if r.pos+int64(len(data)) == length {
			settle()
		}
		n, err := w.Write(data)
		if err != nil {
			return err
		}
		s.advance(r, n, time.Now())
		if last {
			if err := flush(rc); err != nil {
				return err
			}
		}
	}
}

// flush sends what is buffered, where the writer can.
func flush(rc *http.ResponseController) error {
	if err := rc.Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
