package origin

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// serve answers the requests of one connection in turn.
func (o *Origin) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		parsed, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if strings.EqualFold(parsed.Header.Get("Expect"), "100-continue") {
			if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return
			}
		}
		body, err := io.ReadAll(parsed.Body)
		if err != nil {
			return
		}
		path, _, _ := strings.Cut(parsed.RequestURI, "?")
		request := &Request{
			Method: parsed.Method,
			URI:    parsed.RequestURI,
			Host:   parsed.Host,
			Path:   path,
			Header: parsed.Header,
			Body:   body,
			Time:   time.Now(),
		}
		if !o.answer(conn, reader, request, !parsed.Close) {
			return
		}
	}
}

// answer sends the scripted reply and reports whether the connection can be
// used for another request, which the peer wants or not.
func (o *Origin) answer(conn net.Conn, reader *bufio.Reader, request *Request, wanted bool) (keep bool) {
	o.arrive(request)
	reply := o.script(request.Path)(request)

	ctx, cancel := context.WithCancel(o.ctx)
	defer cancel()
	w := &replyWriter{ctx: ctx, conn: conn, request: request, reply: reply}
	if reply.Takeover != nil {
		// The new protocol owns the reader, so nobody may watch it.
		err := w.writePreamble()
		if err == nil {
			reply.Takeover(conn, bufio.NewReadWriter(reader, bufio.NewWriter(conn)))
		}
		o.leave(request, err != nil)
		return false
	}

	// Only a read tells that the peer left. Peek takes nothing away from the next
	// request, which begins after this goroutine has ended.
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if _, err := reader.Peek(1); err != nil {
			cancel()
		}
	}()
	keep, err := w.write()
	o.leave(request, err != nil)
	keep = keep && wanted && err == nil
	if !keep {
		// Unblocks Peek.
		conn.Close()
	}
	<-watched
	return keep
}
