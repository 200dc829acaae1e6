package origin

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"time"
)

// Framing says how the end of a body is announced.
type Framing int

const (
	// ByLength sends Content-Length with the size of the body, unless a header
	// line of the reply gives one. It is the default.
	ByLength Framing = iota
	// Chunked sends Transfer-Encoding: chunked, each write as one chunk.
	Chunked
	// UntilClose sends neither; the end of the connection ends the body.
	UntilClose
)

// Ending says what happens to the connection after the last byte of the reply.
type Ending int

const (
	// Complete ends the message as its framing demands and keeps the connection
	// for the next request, where framing and headers allow. It is the default.
	Complete Ending = iota
	// Cut closes the connection after the bytes of Body: no last chunk is sent,
	// and a larger Content-Length stays unfulfilled.
	Cut
	// Reset is Cut with a TCP reset in place of an orderly close.
	Reset
	// Hang sends nothing more and keeps the connection open until the peer
	// leaves or the origin is closed. Use it with a body that its framing leaves
	// open: after a whole message the peer may send its next request here.
	Hang
)

// Interim is an informational (1xx) response.
type Interim struct {
	// Status is 100, 102, 103 or any other status below 200.
	Status int
	// Headers are lines such as "Link: </style.css>; rel=preload".
	Headers []string
}

// Reply is the answer to one request. The zero value is an empty 200.
type Reply struct {
	// Status is the status code; 0 means 200.
	Status int
	// Headers are lines such as "Cache-Control: max-age=60", sent verbatim and
	// in this order, so that repeated and malformed ones are possible. Date and
	// what Framing needs are added unless a line of that name is here.
	Headers []string
	// NoDate leaves out the Date that is added otherwise.
	NoDate bool
	// Body is the content; it is not sent in reply to HEAD and with 1xx, 204 and
	// 304, whose header is otherwise that of the full reply (without a
	// Content-Length for 204 and 304).
	Body []byte
	// Framing is ByLength by default.
	Framing Framing
	// Trailers are lines sent after the last chunk; they need Chunked.
	Trailers []string

	// Interim responses are sent at once, before Delay and HoldHeader.
	Interim []Interim
	// Delay passes before the header is sent.
	Delay time.Duration
	// HoldHeader is waited for after Delay, before the header is sent.
	HoldHeader *Gate
	// ChunkSize splits the body into writes of this many bytes; 0 means one write.
	ChunkSize int
	// ChunkDelay passes before each write of the body.
	ChunkDelay time.Duration
	// HoldChunk is waited for before each write of the body.
	HoldChunk *Gate
	// Ending is Complete by default.
	Ending Ending

	// Raw, when not nil, is sent in place of status line, headers and body; the
	// connection is then closed, or ended as Ending says. Empty Raw with Ending
	// Reset resets the connection without an answer.
	Raw []byte
	// Takeover, when not nil, is given the connection in place of everything
	// above but Interim, Delay and HoldHeader, for protocol switches. The
	// connection is closed when it returns.
	Takeover func(conn net.Conn, buffered *bufio.ReadWriter)
}

// Func chooses the reply to a request. It is called once per request, from
// several goroutines at a time, when the whole request was read.
type Func func(r *Request) Reply

// Sequence returns a Func that gives each reply in turn and repeats the last.
// The turn is Request.N, so it counts per path.
func Sequence(replies ...Reply) Func {
	return func(r *Request) Reply { return replies[min(r.N, len(replies))-1] }
}

// Conditional returns a Func that answers 304 with the headers of reply, without
// its body, when If-None-Match names its ETag or, without If-None-Match, when
// If-Modified-Since equals its Last-Modified; else reply (RFC 9110, 13.2.2).
func Conditional(reply Reply) Func {
	notModified := reply
	notModified.Status = http.StatusNotModified
	return func(r *Request) Reply {
		if none := r.Header.Get("If-None-Match"); none != "" {
			if tag := headerValue(reply.Headers, "ETag"); tag != "" && strings.Contains(none, tag) {
				return notModified
			}
			return reply
		}
		since := r.Header.Get("If-Modified-Since")
		if since != "" && since == headerValue(reply.Headers, "Last-Modified") {
			return notModified
		}
		return reply
	}
}

// Pattern returns n bytes that differ from place to place, so that lost,
// repeated and reordered pieces of a body show.
func Pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		// A prime period keeps the pattern out of step with every buffer size.
		b[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY\n"[(i%62+i/61)%62]
	}
	return b
}

// headerValue returns the value of the first line with that name, or "".
func headerValue(lines []string, name string) string {
	for _, line := range lines {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// hasHeader reports whether there is a line with that name.
func hasHeader(lines []string, name string) bool {
	for _, line := range lines {
		if key, _, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}
