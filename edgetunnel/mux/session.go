package mux

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Session is one end of a connection that carries streams. It is safe for concurrent use.
type Session struct {
	config Config
	conn   net.Conn
	start  time.Time
	done   chan struct{}
	ready  chan struct{} // closed by the first answer to a ping
	once   sync.Once

	lastRead atomic.Int64 // when bytes came last, from start
	rtt      atomic.Int64 // of the last ping
	distance atomic.Int64 // the shortest of the last ones, which no load has made longer
	in, out  atomic.Uint64
	hurried  atomic.Bool // it ends, by a deadline

	mu      sync.Mutex
	err     error // why the session has ended
	streams map[uint32]*Stream
	open    int    // streams that nobody has closed on this side
	next    uint32 // the number of the next stream that this side opens
	granted int64  // of the memory
	writer  writer
}

// New runs a session over conn until it is closed or breaks. Bytes that were read from
// conn before are in buffered, which may be nil.
func New(conn net.Conn, buffered *bufio.Reader, config Config) *Session {
	s := &Session{
		config: config.withDefaults(), conn: conn, start: time.Now(), done: make(chan struct{}), ready: make(chan struct{}),
		streams: make(map[uint32]*Stream),
	}
	s.writer.init()
	go s.read(buffered)
	go s.write()
	go s.watch()
	return s
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Ready is closed when the peer has shown that it runs the session, too.
func (s *Session) Ready() <-chan struct{} { return s.ready }

// Err tells why the session has ended: ErrClosed when this side has closed it. It is nil
// while it runs.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// RTT is the time that the last ping took, 0 until it is known.
func (s *Session) RTT() time.Duration { return time.Duration(s.rtt.Load()) }

// Bytes tells how many bytes were received and sent.
func (s *Session) Bytes() (in, out uint64) { return s.in.Load(), s.out.Load() }

// Streams tells how many streams there are.
func (s *Session) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Held tells how much of the memory is promised to streams.
func (s *Session) Held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.granted
}

// MostFirst is how many bytes a stream can begin with, at most.
const MostFirst = maxPayload

// Open begins a stream with its first bytes, at most MostFirst. It does not wait: without
// room it returns ErrTooMany. The stream must be closed.
func (s *Session) Open(first []byte) (*Stream, error) {
	if len(first) > MostFirst {
		return nil, errors.New("too many bytes to begin a stream with")
	}
	st := newStream(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(); err != nil {
		return nil, err
	}
	if s.writer.flooded() != nil {
		return nil, ErrTooMany // the connection takes less than is asked of it
	}
	for s.next++; s.next == 0 || s.streams[s.next] != nil; s.next++ { //nolint:revive // looks for a number that is free
	}
	st.id = s.next
	s.enter(st)
	s.writer.append(header{kindOpen, len(first), st.id}, first)
	st.credit -= len(first)
	return st, nil
}

// admit reports whether there is room for one more stream. The lock is held.
func (s *Session) admit() error {
	switch {
	case s.err != nil:
		return s.err
	case s.open >= s.config.MaxStreams, s.granted+int64(s.config.Window) > s.config.Memory:
		return ErrTooMany
	}
	return nil
}

// enter adds a stream. The lock is held.
func (s *Session) enter(st *Stream) {
	s.streams[st.id] = st
	s.open++
	s.granted += int64(s.config.Window)
}

// SendControl sends a message to the session at the other end.
func (s *Session) SendControl(message []byte) error {
	if len(message) > MaxControl {
		return errors.New("the message is too long")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.writer.append(header{kindControl, len(message), 0}, message)
	return nil
}

// Close ends the session at once, with all its streams.
func (s *Session) Close() error {
	s.end(ErrClosed)
	return nil
}

// Shutdown ends the session after what was written so far was sent, or within timeout.
func (s *Session) Shutdown(timeout time.Duration) {
	s.hurried.Store(true)
	_ = s.conn.SetWriteDeadline(time.Now().Add(timeout)) // it may be broken already
	s.mu.Lock()
	s.writer.closing = true
	s.writer.signal()
	s.mu.Unlock()
	<-s.done
}

// end ends the session for a reason, once.
func (s *Session) end(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	streams := slices.Collect(maps.Values(s.streams))
	clear(s.streams)
	s.mu.Unlock()
	for _, st := range streams {
		st.reset(err)
	}
	_ = s.conn.Close() // nobody is left to tell
	close(s.done)
}

// now is the time since the start.
func (s *Session) now() time.Duration { return time.Since(s.start) }

// watch sends heartbeats, gives up on a silent peer, and takes windows back.
func (s *Session) watch() {
	const steps = 4
	ticker := time.NewTicker(s.config.Heartbeat / steps)
	defer ticker.Stop()
	s.ping()
	last := s.now()
	for n := 1; ; n++ {
		select {
		case <-s.done:
			return
		case <-ticker.C:
		}
		now := s.now()
		if now-last > s.config.Heartbeat {
			// It was this process that stood still: what the peer has sent is not read yet.
			s.lastRead.Store(int64(now))
		}
		last = now
		if now-time.Duration(s.lastRead.Load()) > silence*s.config.Heartbeat {
			s.end(ErrDead)
			return
		}
		if n%steps == 0 {
			s.ping()
			s.sweep()
		}
	}
}

func (s *Session) ping() {
	var token [8]byte
	binary.BigEndian.PutUint64(token[:], uint64(s.now()))
	s.mu.Lock()
	s.writer.ping, s.writer.hasPing = token, true
	s.writer.signal()
	s.mu.Unlock()
}

// sweep lets windows shrink whose readers are slow.
func (s *Session) sweep() {
	s.mu.Lock()
	streams := slices.Collect(maps.Values(s.streams))
	s.mu.Unlock()
	for _, st := range streams {
		st.shrink()
	}
}

// ponged takes the answer to a ping.
func (s *Session) ponged(token []byte) {
	sent := time.Duration(binary.BigEndian.Uint64(token))
	took := s.now() - sent
	if sent < 0 || took <= 0 {
		return // it is none of ours
	}
	s.rtt.Store(int64(took))
	// It is believed to be longer only little by little.
	const drift = 8
	if before := time.Duration(s.distance.Load()); before == 0 || took < before+before/drift {
		s.distance.Store(int64(took))
	} else {
		s.distance.Store(int64(before + before/drift))
	}
	s.once.Do(func() { close(s.ready) })
}

// counted notes that bytes came.
type counted struct {
	r io.Reader
	s *Session
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.s.in.Add(uint64(n))
		c.s.lastRead.Store(int64(c.s.now()))
	}
	return n, err
}

// readSize is that of the buffer of a session. A whole frame fits in.
const readSize = MaxControl + headerSize

func (s *Session) read(buffered *bufio.Reader) {
	var r io.Reader = counted{s.conn, s}
	if buffered != nil && buffered.Buffered() > 0 {
		b, _ := buffered.Peek(buffered.Buffered()) // they are there
		r = io.MultiReader(bytes.NewReader(bytes.Clone(b)), r)
	}
	in := bufio.NewReaderSize(r, readSize)
	for {
		if err := s.readFrame(in); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // io.EOF is the good end of a stream
			}
			s.end(err)
			return
		}
	}
}

// readFrame reads one frame and acts on it.
func (s *Session) readFrame(in *bufio.Reader) error {
	b, err := in.Peek(headerSize)
	if err != nil {
		return err
	}
	h, err := parseHeader([headerSize]byte(b))
	if err != nil {
		return err
	}
	b, err = in.Peek(headerSize + h.length)
	if err != nil {
		return err
	}
	if err := s.handle(h, b[headerSize:]); err != nil {
		return err
	}
	_, err = in.Discard(headerSize + h.length)
	return err
}

func (s *Session) handle(h header, payload []byte) error {
	switch h.kind { //nolint:exhaustive // the others are below
	case kindOpen:
		return s.accept(h.stream, payload)
	case kindPing:
		s.mu.Lock()
		s.writer.pong, s.writer.hasPong = [8]byte(payload), true // of several the last will do
		s.writer.signal()
		s.mu.Unlock()
		return nil
	case kindPong:
		s.ponged(payload)
		return nil
	case kindControl:
		if s.config.Control != nil {
			s.config.Control(bytes.Clone(payload))
		}
		return nil
	}
	s.mu.Lock()
	st := s.streams[h.stream]
	s.mu.Unlock()
	if st == nil {
		return nil // closed meanwhile
	}
	switch h.kind { //nolint:exhaustive // the others are above
	case kindWindow:
		return st.mayWrite(binary.BigEndian.Uint32(payload))
	case kindReset:
		st.reset(ResetError{Code(payload[0])})
		return nil
	case kindConfirm:
		st.confirm()
		return nil
	default:
		return st.receive(payload, h.kind == kindEnd)
	}
}

// accept takes a stream of the peer's, or refuses it.
func (s *Session) accept(id uint32, first []byte) error {
	st := newStream(s)
	st.id = id
	s.mu.Lock()
	if s.streams[id] != nil {
		s.mu.Unlock()
		return protocolError("a stream was opened twice")
	}
	if s.config.Accept == nil || s.admit() != nil {
		s.writer.append(header{kindReset, 1, id}, []byte{byte(CodeRefused)})
		err := s.writer.flooded()
		s.mu.Unlock()
		return err
	}
	s.enter(st)
	s.mu.Unlock()
	if err := st.receive(first, false); err != nil {
		return err
	}
	s.config.Accept(st)
	return nil
}
