package main

import (
	"hash/crc32"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// origin is the server behind all caches. It runs in the process of the
// generator, so that it counts for none of them.
type origin struct {
	addr   string
	server *http.Server
	mux    *http.ServeMux
	pages  int
}

// reply is what the origin answers.
type reply struct {
	status int // 0 is 200
	fields map[string]string
	more   func(req *http.Request, h http.Header) // adds fields; may be nil
	delay  time.Duration                          // before the header
	size   int64
	pace   time.Duration // over which the body is spread
}

// cacheable are the fields of a usual static file; bench_baseline writes the
// same.
var cacheable = map[string]string{
	"Content-Type":  "text/html; charset=utf-8",
	"Cache-Control": "public, max-age=3600",
	"Etag":          `"0123456789abcdef"`,
	"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
}

// plain are the least that a response needs for being kept.
var plain = map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "public, max-age=3600"}

// startOrigin starts an origin without pages.
func startOrigin() (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{addr: l.Addr().String(), mux: http.NewServeMux()}
	o.server = &http.Server{Handler: o.mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = o.server.Serve(l) }() // ends with close
	return o, nil
}

// close ends the origin and its connections.
func (o *origin) close() { _ = o.server.Close() }

// page serves a reply at a new path. The counter tells how often it was fetched.
// Not safe for concurrent use.
func (o *origin) page(r reply) (path string, fetches *atomic.Int64) {
	return o.handle(r, "")
}

// folder is like page, and serves every path below the new one, which ends with
// a slash.
func (o *origin) folder(r reply) (path string, fetches *atomic.Int64) {
	return o.handle(r, "/")
}

func (o *origin) handle(r reply, suffix string) (string, *atomic.Int64) {
	o.pages++
	path, count := "/page"+strconv.Itoa(o.pages)+suffix, new(atomic.Int64)
	o.mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
		count.Add(1)
		r.serve(w, req)
	})
	return path, count
}

func (r *reply) serve(w http.ResponseWriter, req *http.Request) {
	if r.delay > 0 && !pause(req, r.delay) {
		return
	}
	h := w.Header()
	for name, value := range r.fields {
		h.Set(name, value)
	}
	if r.more != nil {
		r.more(req, h)
	}
	h.Set("Content-Length", strconv.FormatInt(r.size, 10))
	w.WriteHeader(max(r.status, http.StatusOK))
	if r.pace == 0 {
		pieces(r.size, func(p []byte) bool { _, err := w.Write(p); return err == nil })
		return
	}
	r.stream(w, req)
}

// stream writes the body at an even rate.
func (r *reply) stream(w http.ResponseWriter, req *http.Request) {
	control, start, sent := http.NewResponseController(w), time.Now(), int64(0)
	pieces(r.size, func(p []byte) bool {
		if _, err := w.Write(p); err != nil || control.Flush() != nil {
			return false
		}
		sent += int64(len(p))
		due := start.Add(time.Duration(float64(r.pace) * float64(sent) / float64(r.size)))
		return pause(req, time.Until(due))
	})
}

// pause waits, and reports false when the request ended meanwhile.
func pause(req *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-req.Context().Done():
		return false
	}
}

// pattern is what bodies consist of. Its length has no divisor in common with
// any buffer's, so that a piece in the wrong place changes the checksum.
var pattern = func() []byte {
	p := make([]byte, 65_521)
	for i := range p {
		p[i] = byte(uint32(i) * 2_654_435_761 >> 24)
	}
	return p
}()

// pieces calls each with the parts of a body until it returns false.
func pieces(size int64, each func([]byte) bool) {
	for size > 0 {
		p := pattern[:min(size, int64(len(pattern)))]
		if !each(p) {
			return
		}
		size -= int64(len(p))
	}
}

// checksum returns the checksum of a whole body.
func checksum(size int64) (sum uint32) {
	pieces(size, func(p []byte) bool { sum = crc32.Update(sum, castagnoli, p); return true })
	return sum
}

// castagnoli is the polynomial that processors know.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sink takes what is sent to a new path, and counts its bytes.
func (o *origin) sink() (path string, received *atomic.Int64) {
	o.pages++
	path, received = "/page"+strconv.Itoa(o.pages), new(atomic.Int64)
	o.mux.HandleFunc(path, func(_ http.ResponseWriter, req *http.Request) {
		buf := make([]byte, 64<<10)
		for {
			n, err := req.Body.Read(buf)
			received.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	return path, received
}
