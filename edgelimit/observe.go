package edgelimit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgelimit/adaptive"
)

// observer is told what happens to an admitted request.
type observer interface {
	BodyRead(now time.Time)
	Header(now time.Time)
	Timeout(now time.Time)
	Abandoned(now time.Time)
	NoSample()
	Stream(now time.Time) adaptive.Refusal
	Release(now time.Time)
}

var _ observer = adaptive.Ticket{}

// body tells the observer when the request body has been read to its end.
type body struct {
	io.ReadCloser
	observer observer
	left     int64 // below zero: unknown
	done     bool
}

func newBody(b io.ReadCloser, length int64, o observer) *body {
	return &body{ReadCloser: b, observer: o, left: length}
}

// Read implements io.Reader. It is not called concurrently.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if !b.done && (errors.Is(err, io.EOF) || b.left == 0) {
		b.done = true
		b.observer.BodyRead(time.Now())
	}
	return n, err
}

// originWriter tells the observer about the first header of the response. The
// response that would become a stream while there is no place for it is replaced
// by a refusal.
type originWriter struct {
	*caddyhttp.ResponseWriterWrapper
	observer observer
	connect  bool // the method is CONNECT
	refuse   func(adaptive.Refusal)
	wrote    bool
	refused  bool // what the origin sends goes nowhere
}

// errRefused ends the copying of a response in whose place a refusal was sent.
var errRefused = errors.New("refused: there is no place for another stream")

// WriteHeader implements http.ResponseWriter.
func (w *originWriter) WriteHeader(code int) {
	if !w.wrote && (code >= 200 || code == http.StatusSwitchingProtocols) {
		w.first(code)
	}
	if !w.refused {
		w.ResponseWriterWrapper.WriteHeader(code)
	}
}

// Write implements http.ResponseWriter.
func (w *originWriter) Write(p []byte) (int, error) {
	if w.first(http.StatusOK); w.refused {
		return 0, errRefused
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (w *originWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.first(http.StatusOK); w.refused {
		return 0, errRefused
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// Hijack implements http.Hijacker: what follows is no response any more.
func (w *originWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.wrote = true
	observeSwitch(w.observer)
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// first is called before the first final header.
func (w *originWriter) first(code int) {
	if w.wrote {
		return
	}
	w.wrote = true
	if code == http.StatusSwitchingProtocols || w.connect && code < 300 {
		observeSwitch(w.observer)
		return
	}
	if refusal := observeHeader(w.observer, code, w.Header()); refusal.Refused() {
		w.refused = true
		w.refuse(refusal)
	}
}

// observeSwitch notes that the protocol is another one from now on (RFC 9110
// section 15.2.2, RFC 8441). That has no latency, and a place among the streams
// was looked for before the request was sent.
func observeSwitch(o observer) {
	now := time.Now()
	o.NoSample()
	o.Header(now)
	o.Stream(now)
}

// observeHeader judges the header of a response, before it is sent. A refusal
// means that it must not be.
func observeHeader(o observer, code int, header http.Header) adaptive.Refusal {
	now := time.Now()
	switch code {
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		// An origin that refuses at once is not a quick one.
		o.NoSample()
	case http.StatusGatewayTimeout:
		o.Timeout(now)
	}
	var refusal adaptive.Refusal
	if streams(header.Get("Content-Type")) {
		refusal = o.Stream(now)
	}
	o.Header(now)
	return refusal
}

// streams reports whether a response of this type lasts by its nature.
func streams(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "text/event-stream" || media == "application/grpc" || strings.HasPrefix(media, "application/grpc+")
}

// observeEnd judges a request that got no response.
func observeEnd(o observer, r *http.Request, err error) {
	now := time.Now()
	if r.Context().Err() != nil {
		if timedOut(context.Cause(r.Context())) { // a cache in front gave it up
			o.Timeout(now)
		} else {
			o.Abandoned(now)
		}
		return
	}
	switch {
	case err == nil:
		o.Header(now) // net/http answers 200
	case timedOut(err):
		o.Timeout(now)
	default:
		o.NoSample()
	}
}

// timedOut reports whether the origin was given up because it took too long.
// That it could not be reached in time says nothing of its load.
func timedOut(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return false
	}
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode == http.StatusGatewayTimeout {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// switches reports whether a request wants another protocol, which makes it last.
func switches(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect
}

// rateSample observes a request in mode rate, which counts nothing in flight. The
// body may be read on another goroutine than the one that writes.
type rateSample struct {
	loop      *adaptive.RateLoop
	threshold time.Duration

	mu        sync.Mutex
	clock     time.Time
	uploading bool
	done      bool
}

func (s *rateSample) BodyRead(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploading, s.clock = false, now
}

func (s *rateSample) observe(now time.Time, least time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done && !s.uploading {
		s.done = true
		s.loop.Observe(now, max(now.Sub(s.clock), least))
	}
}

func (s *rateSample) Header(now time.Time) { s.observe(now, 0) }

// Timeout counts as more than any threshold.
func (s *rateSample) Timeout(now time.Time) { s.observe(now, time.Minute) }

// Abandoned counts only if the client has waited for too long: one that leaves at
// once would make the origin look quick.
func (s *rateSample) Abandoned(now time.Time) {
	s.mu.Lock()
	waited := now.Sub(s.clock)
	s.mu.Unlock()
	if waited > s.threshold {
		s.observe(now, 0)
	}
}

func (s *rateSample) NoSample() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
}

func (s *rateSample) Stream(time.Time) adaptive.Refusal { return adaptive.Refusal{} }

func (s *rateSample) Release(time.Time) {}
