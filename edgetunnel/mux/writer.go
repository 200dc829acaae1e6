package mux

import "time"

// mostWaiting is how many bytes wait to be written at most before streams have to wait.
// What the session says of itself has room beyond.
const mostWaiting = 128 << 10

// mostOwn bounds what a session says of itself, which a peer that does not read could let
// grow.
const mostOwn = 1 << 20

// writer collects frames; those that are there when the connection is free go out in one
// write. The session's lock guards it.
type writer struct {
	pending, spare []byte
	wake           chan struct{}
	waiting        []*Stream // in the order in which they came
	ping, pong     [8]byte
	hasPing        bool
	hasPong        bool
	closing        bool
}

func (w *writer) init() { w.wake = make(chan struct{}, 1) }

func (w *writer) signal() { notify(w.wake) }

// append adds a frame.
func (w *writer) append(h header, payload []byte) {
	if len(w.pending) == 0 {
		w.signal()
	}
	w.pending = appendHeader(w.pending, h)
	w.pending = append(w.pending, payload...)
}

// stuck is how long the connection may take for one write, of mostWritten bytes at most.
const (
	stuck       = 30 * time.Second
	mostWritten = 64 << 10
)

// flooded reports whether the peer makes this side say more than it reads.
func (w *writer) flooded() error {
	if len(w.pending) > mostWaiting+mostOwn {
		return protocolError("it asks more than it reads")
	}
	return nil
}

// full reports whether streams have to wait.
func (w *writer) full() bool { return len(w.pending) >= mostWaiting }

// small is how many bytes of a stream do not wait behind long ones, as far as there is room
// for such.
const small = 32 << 10

// crowded reports whether there is no room for those either.
func (w *writer) crowded() bool { return len(w.pending) >= 2*mostWaiting }

// take returns all that is to be written.
func (w *writer) take() []byte {
	if w.hasPong {
		w.pending = append(appendHeader(w.pending, header{kindPong, len(w.pong), 0}), w.pong[:]...)
	}
	if w.hasPing {
		w.pending = append(appendHeader(w.pending, header{kindPing, len(w.ping), 0}), w.ping[:]...)
	}
	w.hasPing, w.hasPong = false, false
	b := w.pending
	w.pending, w.spare = w.spare, nil
	return b
}

// taken takes the buffer back that has been written.
func (w *writer) taken(b []byte) {
	if cap(b) <= 2*mostWaiting {
		w.spare = b[:0]
	}
}

// next lets as many streams go on as there is room for, in turn.
func (w *writer) next() {
	n := min(len(w.waiting), mostWaiting/maxPayload)
	for _, st := range w.waiting[:n] {
		st.waits = false
		notify(st.writable)
	}
	w.waiting = append(w.waiting[:0], w.waiting[n:]...)
}

// write writes frames until the session has ended.
func (s *Session) write() {
	for {
		select {
		case <-s.done:
			return
		case <-s.writer.wake:
		}
		for {
			s.mu.Lock()
			b := s.writer.take()
			s.writer.next()
			idle, closing := len(b) == 0 && len(s.writer.waiting) == 0, s.writer.closing
			s.mu.Unlock()
			if idle && closing {
				s.end(ErrClosed)
				return
			}
			if err := s.send(b); err != nil {
				s.end(err)
				return
			}
			s.mu.Lock()
			s.writer.taken(b)
			s.mu.Unlock()
			if idle {
				break
			}
		}
	}
}

// send writes to the connection. One that takes nothing for long is as good as broken, though
// bytes come from it.
func (s *Session) send(b []byte) error {
	for len(b) > 0 {
		if !s.hurried.Load() {
			_ = s.conn.SetWriteDeadline(time.Now().Add(stuck)) // the write will say
		}
		n, err := s.conn.Write(b[:min(len(b), mostWritten)])
		s.out.Add(uint64(n))
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// notify wakes who waits on ch, which has room for one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
