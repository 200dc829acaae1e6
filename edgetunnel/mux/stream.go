package mux

import (
	"encoding/binary"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"time"
)

// Stream is one of the streams of a session. It is a net.Conn of which each direction ends
// alone; at most one goroutine may read and one may write at a time. Close must be called.
type Stream struct {
	session *Session
	id      uint32

	// Of the direction to the peer; the session's lock guards it.
	credit   int // how many bytes the peer takes
	sendErr  error
	waits    bool // for room in the writer
	written  int  // bytes
	writable chan struct{}
	writeBy  deadline

	mu       sync.Mutex // guards the direction from the peer; it may be held when the session's is taken
	queue    queue
	recvErr  error // io.EOF: the peer has ended it
	left     bool  // closed on this side
	sure     bool  // the peer has confirmed
	ended    bool  // it can't any more
	window   int   // how many bytes the peer may have under way
	granted  int   // of the session's memory
	allowed  int   // how many bytes the peer may still send
	consumed int   // bytes that were read since the window was renewed
	read     int   // since the last sweep
	renewed  time.Duration
	readable chan struct{}
	// confirmed is closed when the peer has confirmed, or can't any more.
	confirmed chan struct{}
	readBy    deadline
	waiting   []byte // where a reader that waits wants its bytes; nil when it does not
	direct    int    // how many it got there
}

func newStream(s *Session) *Stream {
	w := s.config.Window
	return &Stream{
		session: s, credit: w, window: w, granted: w, allowed: w, renewed: s.now(),
		writable: make(chan struct{}, 1), readable: make(chan struct{}, 1), confirmed: make(chan struct{}),
	}
}

// Read implements io.Reader. It returns io.EOF when the peer has ended its direction, a
// ResetError when it has reset the stream, os.ErrDeadlineExceeded, or what ended the
// session.
func (st *Stream) Read(p []byte) (int, error) {
	for {
		n, more, err := st.take(p)
		if more > 0 {
			st.allow(more)
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		<-st.readable
	}
}

// ReadNow reads what is there, and does not wait. It must not be called while somebody
// else reads.
func (st *Stream) ReadNow(p []byte) (n int) {
	st.mu.Lock()
	more := 0
	if st.queue.size > 0 {
		n = st.queue.read(p)
		more = st.consume(n)
	}
	st.mu.Unlock()
	if more > 0 {
		st.allow(more)
	}
	return n
}

// take reads what is there. If that is nothing, p is where it is wanted.
func (st *Stream) take(p []byte) (n, more int, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	n, st.direct, st.waiting = st.direct, 0, nil
	switch {
	case n > 0:
	case st.readBy.passed():
		return 0, 0, os.ErrDeadlineExceeded
	case st.queue.size > 0:
		n = st.queue.read(p)
	case st.recvErr != nil:
		return 0, 0, st.recvErr
	default:
		st.waiting = p
		return 0, 0, nil
	}
	return n, st.consume(n), nil
}

// consume notes that n bytes were read, and returns how many more the peer is to be
// allowed. The lock is held.
func (st *Stream) consume(n int) (more int) {
	st.consumed += n
	st.read += n
	if st.recvErr != nil || st.consumed < st.window/2 {
		return 0
	}
	s := st.session
	now := s.now()
	quick := now-st.renewed < 2*s.RTT()
	st.renewed, st.consumed = now, 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if quick {
		st.window += s.growth(st.window)
	}
	// What the window was made smaller by is not allowed again.
	more = max(st.window-st.queue.size-st.allowed, 0)
	st.allowed += more
	granted := max(st.window, st.queue.size+st.allowed)
	s.granted += int64(granted - st.granted)
	st.granted = granted
	return more
}

const (
	// shortWindow is what windows grow to whatever the distance. 4 ms away that is enough
	// for 60 MB/s.
	shortWindow = 256 << 10
	// longRate is how many bytes per second a window is to be enough for further away.
	longRate = 100 << 20
)

// growth returns how much larger a window becomes whose reader would wait for the peer. What
// comes in before a slow reader shows that it is slow is held, so that near peers get
// little. One half of the memory is left for further streams, and of the other each gets no
// more than a part of what is left. The lock is held.
func (s *Session) growth(window int) int {
	const part = 8
	far := int(min(float64(longRate)*time.Duration(s.distance.Load()).Seconds(), math.MaxInt32))
	most := min(max(far, shortWindow), s.config.MaxWindow)
	left := min((s.config.Memory/2-s.granted)/part, math.MaxInt32)
	return max(min(window, most-window, int(left)), 0)
}

// shrink halves the window of a reader that has read less of it since the last call, which
// is many round trips ago.
func (st *Stream) shrink() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.read < st.window {
		st.window = max(st.window/2, st.session.config.Window)
	}
	st.read = 0
}

// allow lets the peer send more.
func (st *Stream) allow(more int) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(more))
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.streams[st.id] == st {
		s.writer.append(header{kindWindow, len(b), st.id}, b[:])
	}
}

// receive takes bytes of the peer's.
func (st *Stream) receive(p []byte, end bool) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.recvErr != nil {
		if st.recvErr == io.EOF { //nolint:errorlint // set as such
			return protocolError("bytes after the end of a stream")
		}
		return nil // it was reset or closed
	}
	if len(p) > st.allowed {
		return protocolError("more bytes than were allowed")
	}
	st.allowed -= len(p)
	if len(st.waiting) > 0 {
		st.direct = copy(st.waiting, p)
		p, st.waiting = p[st.direct:], nil
	}
	st.queue.write(p)
	if end {
		st.recvErr = io.EOF
		st.unsure()
	}
	notify(st.readable)
	return nil
}

// Confirm tells the peer, which may await it, that its answer has come.
func (st *Stream) Confirm() error {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.sendErr != nil {
		return st.sendErr
	}
	s.writer.append(header{kindConfirm, 0, st.id}, nil)
	return nil
}

// AwaitConfirm waits for Confirm of the peer, for at most timeout. Others may read meanwhile. It
// returns os.ErrDeadlineExceeded, or why the stream or session has ended.
func (st *Stream) AwaitConfirm(timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-st.confirmed:
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.sure {
		return st.recvErr
	}
	return nil
}

func (st *Stream) confirm() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.recvErr == nil && !st.sure {
		st.sure = true
		close(st.confirmed)
	}
}

// unsure ends the wait for a confirmation that can't come any more. The lock is held, and
// recvErr is set.
func (st *Stream) unsure() {
	if !st.sure && !st.ended {
		st.ended = true
		close(st.confirmed)
	}
}

// Write implements io.Writer. It waits while the peer takes no more, and returns as Read.
func (st *Stream) Write(p []byte) (written int, err error) {
	s := st.session
	for written < len(p) {
		s.mu.Lock()
		switch {
		case st.sendErr != nil:
			err = st.sendErr
		case st.writeBy.passed():
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			s.mu.Unlock()
			return written, err
		}
		n := min(len(p)-written, maxPayload, st.credit)
		room := !s.writer.full() || st.written < small && !s.writer.crowded()
		if n > 0 && room {
			s.writer.append(header{kindData, n, st.id}, p[written:written+n])
			st.credit -= n
			st.written += n
			written += n
			s.mu.Unlock()
			continue
		}
		if n > 0 && !st.waits {
			st.waits = true
			s.writer.waiting = append(s.writer.waiting, st)
		}
		s.mu.Unlock()
		<-st.writable
	}
	return written, nil
}

// mayWrite takes what the peer allows.
func (st *Stream) mayWrite(more uint32) error {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if more > math.MaxInt32 || st.credit > math.MaxInt32-int(more) {
		return protocolError("a window beyond all bounds")
	}
	st.credit += int(more)
	notify(st.writable)
	return nil
}

// CloseWrite ends the direction to the peer.
func (st *Stream) CloseWrite() error {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.sendErr != nil {
		return st.sendErr
	}
	st.sendErr = ErrClosed
	notify(st.writable)
	s.writer.append(header{kindEnd, 0, st.id}, nil)
	return nil
}

// Close closes the stream. If one of its directions has not ended, the peer is told to
// stop.
func (st *Stream) Close() error {
	st.CloseWithCode(CodeCanceled)
	return nil
}

// CloseWithCode is Close with a reason for the peer.
func (st *Stream) CloseWithCode(code Code) {
	s := st.session
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.left {
		return
	}
	st.left = true
	received := st.recvErr != nil
	st.recvErr = ErrClosed
	st.unsure()
	st.queue.clear()
	st.waiting = nil
	st.readBy.stop()
	notify(st.readable)

	s.mu.Lock()
	defer s.mu.Unlock()
	st.writeBy.stop()
	if s.err == nil && (!received || st.sendErr == nil) {
		s.writer.append(header{kindReset, 1, st.id}, []byte{byte(code)})
	}
	if st.sendErr == nil {
		st.sendErr = ErrClosed
	}
	notify(st.writable)
	if s.streams[st.id] == st {
		delete(s.streams, st.id)
	}
	s.open--
	s.granted -= int64(st.granted)
}

// reset ends both directions since the peer says so, or the session has ended. What the
// peer has sent before it ended its own can still be read.
func (st *Stream) reset(err error) {
	st.session.mu.Lock()
	if st.sendErr == nil || st.sendErr == ErrClosed { //nolint:errorlint // set as such
		st.sendErr = err
	}
	notify(st.writable)
	st.session.mu.Unlock()
	st.mu.Lock()
	if st.recvErr == nil {
		st.recvErr = err
		st.unsure()
		st.queue.clear()
		notify(st.readable)
	}
	st.mu.Unlock()
}

// LocalAddr implements net.Conn.
func (st *Stream) LocalAddr() net.Addr { return st.session.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (st *Stream) RemoteAddr() net.Addr { return st.session.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (st *Stream) SetDeadline(t time.Time) error {
	_ = st.SetReadDeadline(t) // neither fails
	return st.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.readBy.set(t, st.readable)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	st.writeBy.set(t, st.writable)
	return nil
}

var _ net.Conn = (*Stream)(nil)
