package hub

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"os"
	"sync"
	"time"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// Timeouts are those of an exchange.
type Timeouts struct {
	// Accept is how long the agent may take to get the request to its backend.
	Accept time.Duration
	// Header is how long the response may take when the request has been sent. 0: for
	// ever.
	Header time.Duration
}

// mostHead is how long the header of a response may be, with all that is sent before it,
// in bytes.
const mostHead = 1 << 20

// RoundTrip sends a request of a client, whose address may be unknown, to a backend. It
// returns a NotTakenError when nobody has got it. Of a request with a body nothing has
// been read then.
func (to *Route) RoundTrip(r *http.Request, client netip.AddrPort, t Timeouts) (*http.Response, error) {
	a := to.Agent
	a.began(to.Backend)
	x := exchange{to: to, request: r, client: client, framing: framingOf(r)}
	resp, err := x.run(t)
	if ctx := r.Context(); err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		x.finish()
		x.awaitSender()
	}
	a.count(to.Backend.Name, resp, err)
	return resp, err
}

// count tells the hooks how an exchange went.
func (a *Agent) count(backend string, resp *http.Response, err error) {
	hooks := &a.hub.hooks
	var refused NotTakenError
	switch {
	case errors.As(err, &refused):
		if hooks.NotTaken != nil {
			hooks.NotTaken(backend, refused.Status)
		}
	case err != nil:
		if hooks.Failed != nil {
			hooks.Failed(backend, err)
		}
	case hooks.Answered != nil:
		hooks.Answered(backend, resp.StatusCode)
	}
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // nothing was read
	}
}

// exchange is a request and its response on a stream.
type exchange struct {
	to      *Route
	request *http.Request
	client  netip.AddrPort
	framing framing
	stream  *mux.Stream
	in      *limited
	stop    func() bool   // of the watch over the context
	sent    chan error    // how sending the body ended
	ended   chan struct{} // closed then
	once    sync.Once

	mu              sync.Mutex
	timed, answered bool // see expect
}

var heads = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// open sends the head.
func (x *exchange) open(timeout time.Duration) error {
	p := wire.Preface{Backend: x.to.Backend.Name, Client: x.client}
	buf := heads.Get().(*[]byte)
	defer heads.Put(buf)
	head, err := appendHead((*buf)[:0], p, x.request, x.framing)
	if err != nil {
		return err
	}
	const most = 64 << 10
	if cap(head) <= most {
		*buf = head[:0]
	}
	first := min(len(head), mux.MostFirst)
	if x.stream, err = x.to.Agent.open(head[:first]); err != nil {
		return err
	}
	x.stop = context.AfterFunc(x.request.Context(), func() { x.stream.CloseWithCode(mux.CodeCanceled) })
	if first < len(head) {
		if timeout > 0 {
			_ = x.stream.SetWriteDeadline(time.Now().Add(timeout)) // never fails
		}
		_, err = x.stream.Write(head[first:])
		_ = x.stream.SetWriteDeadline(time.Time{}) // never fails
	}
	return err
}

// confirms reports whether the agent forwards the request only when the edge has confirmed
// that it knows: of those that are sent at once nobody can tell, when the agent is lost,
// whether they were forwarded.
func (x *exchange) confirms() bool {
	switch x.request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return x.framing != noBody
	}
	return true
}

func (x *exchange) run(t Timeouts) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(x.request.Context())
	if trace != nil && trace.ConnectStart != nil {
		trace.ConnectStart(wire.Network, x.to.Address)
	}
	err := x.open(t.Accept)
	if err == nil {
		err = x.status(t.Accept)
	}
	if err == nil && x.confirms() {
		err = x.stream.Confirm()
	}
	if trace != nil && trace.ConnectDone != nil {
		trace.ConnectDone(wire.Network, x.to.Address, err)
	}
	if err != nil {
		closeBody(x.request)
		return nil, err
	}
	if x.framing == noBody {
		if t.Header > 0 {
			x.expect(t.Header)
		}
	} else {
		x.sent, x.ended = make(chan error, 1), make(chan struct{})
		go x.sendBody(t.Header)
	}
	resp, err := x.response()
	if err != nil {
		return nil, x.because(err)
	}
	x.expect(0)
	return resp, nil
}

// expect sets how long the header of the response may take from now on. 0 is for when it
// has come: nothing is set any more then.
func (x *exchange) expect(timeout time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case timeout == 0 && x.timed:
		_ = x.stream.SetReadDeadline(time.Time{}) // never fails
	case timeout > 0 && !x.answered:
		_ = x.stream.SetReadDeadline(time.Now().Add(timeout)) // never fails
		x.timed = true
	}
	x.answered = timeout == 0
}

// status waits for the agent's answer.
func (x *exchange) status(timeout time.Duration) error {
	if timeout > 0 {
		_ = x.stream.SetReadDeadline(time.Now().Add(timeout)) // never fails
	}
	x.in = inputs.Get().(*limited)
	x.in.reset(x.stream)
	b, err := x.in.ReadByte()
	if timeout > 0 {
		_ = x.stream.SetReadDeadline(time.Time{}) // never fails
	}
	var reset mux.ResetError
	switch {
	case err == nil:
	case errors.As(err, &reset) && reset.Code == mux.CodeRefused:
		return NotTakenError{wire.Overloaded}
	case x.confirms():
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return NotTakenError{wire.TimedOut}
		}
		return x.to.Agent.gone()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errAccept
	default:
		return err
	}
	switch s := wire.Status(b); {
	case s == wire.Accepted:
		return nil
	case s.Valid():
		return NotTakenError{s}
	case b == 'H':
		return NotTakenError{wire.Invalid} // a response by who reads requests, in front of all handlers
	default:
		return errNoStatus
	}
}

// sendBody sends the body; when it can't be read, there is no point in a response.
func (x *exchange) sendBody(header time.Duration) {
	defer close(x.ended)
	err := sendBody(x.stream, x.request, x.framing)
	x.sent <- err
	if header > 0 {
		x.expect(header)
	}
	var ours bodyError
	if errors.As(err, &ours) || errors.Is(err, errShort) || errors.Is(err, errLong) {
		x.stream.CloseWithCode(mux.CodeCanceled)
	}
}

// awaitSender waits until nobody reads the body of a request that failed any more, since it
// may be sent again. A client that has left, or a deadline, ends that.
func (x *exchange) awaitSender() {
	if x.ended == nil {
		return
	}
	select {
	case <-x.ended:
	case <-x.request.Context().Done():
	}
}

// because prefers the reason why the body could not be sent, which is the cause of what
// comes after.
func (x *exchange) because(err error) error {
	select {
	case sendErr := <-x.sent:
		var ours bodyError
		if errors.As(sendErr, &ours) || errors.Is(sendErr, errShort) || errors.Is(sendErr, errLong) {
			return sendErr
		}
	default:
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errHeader
	}
	return err
}

// response reads the header of the response, and those before it.
func (x *exchange) response() (*http.Response, error) {
	trace := httptrace.ContextClientTrace(x.request.Context())
	x.in.left = mostHead
	for {
		resp, err := http.ReadResponse(x.in.Reader, x.request)
		if err != nil {
			if x.in.left <= 0 {
				err = errTooLong
			}
			return nil, err
		}
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			x.in.left = unlimited
			resp.Body = &upgraded{body{exchange: x, ReadCloser: io.NopCloser(x.in)}}
			return resp, nil
		case resp.StatusCode >= 200:
			x.in.left = unlimited
			resp.Body = &body{exchange: x, ReadCloser: resp.Body}
			return resp, nil
		case trace != nil && trace.Got1xxResponse != nil:
			if err := trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
				return nil, err
			}
		}
	}
}

// finish closes the stream and counts the end of the request, once.
func (x *exchange) finish() {
	x.once.Do(func() {
		if x.stop != nil {
			x.stop()
		}
		if x.stream != nil {
			_ = x.stream.Close() // never fails
		}
		x.to.Agent.ended(x.to.Backend)
	})
}

// body is that of a response.
type body struct {
	*exchange
	io.ReadCloser
	err error // of the last Read; only the reader sets it
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	if ctx := b.request.Context(); !errors.Is(err, io.EOF) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	b.err = err
	b.finish()
	if errors.Is(err, io.EOF) {
		b.in.release()
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.finish()
	return nil
}

// upgraded is the connection after a switch of protocols. Each direction ends alone.
type upgraded struct{ body }

// Read implements io.Reader.
func (u *upgraded) Read(p []byte) (int, error) { return u.ReadCloser.Read(p) }

// Write implements io.Writer.
func (u *upgraded) Write(p []byte) (int, error) { return u.stream.Write(p) }

// CloseWrite ends the direction to the backend.
func (u *upgraded) CloseWrite() error { return u.stream.CloseWrite() }

// limited reads no more than a number of bytes from the stream.
type limited struct {
	*bufio.Reader
	stream *mux.Stream
	left   int64
}

const unlimited = int64(1) << 62

var inputs = sync.Pool{New: func() any {
	l := new(limited)
	l.Reader = bufio.NewReader((*source)(l))
	return l
}}

func (l *limited) reset(st *mux.Stream) {
	l.stream, l.left = st, unlimited
	l.Reset((*source)(l))
}

// release gives the buffer back when nobody reads from it any more.
func (l *limited) release() {
	l.stream = nil
	inputs.Put(l)
}

// source is where a limited reader reads from.
type source limited

func (s *source) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.stream.Read(p)
	s.left -= int64(n)
	return n, err
}
