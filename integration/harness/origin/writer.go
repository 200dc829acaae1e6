package origin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// replyWriter sends one reply.
type replyWriter struct {
	ctx     context.Context
	conn    net.Conn
	request *Request
	reply   Reply
}

// write sends the reply and reports whether the connection can be kept. An
// error means that the peer left before the reply was sent as scripted.
func (w *replyWriter) write() (keep bool, err error) {
	if err := w.writePreamble(); err != nil {
		return false, err
	}
	if w.reply.Raw != nil {
		if _, err := w.conn.Write(w.reply.Raw); err != nil {
			return false, err
		}
		return false, w.end()
	}
	if _, err := w.conn.Write(w.head()); err != nil {
		return false, err
	}
	if w.hasBody() {
		if err := w.writeBody(); err != nil {
			return false, err
		}
	}
	keep = w.reply.Ending == Complete &&
		w.reply.Framing != UntilClose &&
		!strings.EqualFold(headerValue(w.reply.Headers, "Connection"), "close")
	return keep, w.end()
}

// writePreamble does everything that happens before the header.
func (w *replyWriter) writePreamble() error {
	for _, interim := range w.reply.Interim {
		var b bytes.Buffer
		writeStatusLine(&b, interim.Status)
		writeLines(&b, interim.Headers)
		if _, err := w.conn.Write(b.Bytes()); err != nil {
			return err
		}
	}
	if err := w.pause(w.reply.Delay); err != nil {
		return err
	}
	return w.reply.HoldHeader.Wait(w.ctx)
}

// head returns status line and header.
func (w *replyWriter) head() []byte {
	var b bytes.Buffer
	status := w.status()
	writeStatusLine(&b, status)
	// Clipped, so that append copies what the test may use again.
	lines := slices.Clip(w.reply.Headers)
	if !w.reply.NoDate && !hasHeader(lines, "Date") {
		lines = append(lines, "Date: "+time.Now().UTC().Format(http.TimeFormat))
	}
	bodiless := status == http.StatusNoContent || status == http.StatusNotModified
	switch {
	case w.reply.Framing == Chunked && !bodiless && !hasHeader(lines, "Transfer-Encoding"):
		lines = append(lines, "Transfer-Encoding: chunked")
	case w.reply.Framing == ByLength && !bodiless && !hasHeader(lines, "Content-Length"):
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(w.reply.Body)))
	case w.reply.Framing == UntilClose && !hasHeader(lines, "Connection"):
		lines = append(lines, "Connection: close")
	}
	writeLines(&b, lines)
	return b.Bytes()
}

// writeBody sends the body piece by piece, and its end unless that is cut.
func (w *replyWriter) writeBody() error {
	for rest := w.reply.Body; len(rest) > 0; {
		size := len(rest)
		if w.reply.ChunkSize > 0 {
			size = min(size, w.reply.ChunkSize)
		}
		piece := rest[:size]
		rest = rest[size:]
		if err := w.pause(w.reply.ChunkDelay); err != nil {
			return err
		}
		if err := w.reply.HoldChunk.Wait(w.ctx); err != nil {
			return err
		}
		if err := w.writePiece(piece); err != nil {
			return err
		}
	}
	if w.reply.Framing != Chunked || w.reply.Ending != Complete {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("0\r\n")
	writeLines(&b, w.reply.Trailers)
	_, err := w.conn.Write(b.Bytes())
	return err
}

func (w *replyWriter) writePiece(piece []byte) error {
	if w.reply.Framing != Chunked {
		_, err := w.conn.Write(piece)
		return err
	}
	chunk := net.Buffers{fmt.Appendf(nil, "%x\r\n", len(piece)), piece, []byte("\r\n")}
	_, err := chunk.WriteTo(w.conn)
	return err
}

// end does to the connection what Ending says, except for an orderly close,
// which is the caller's.
func (w *replyWriter) end() error {
	switch w.reply.Ending {
	case Reset:
		// Without lingering, the close that follows discards and sends RST.
		if tcp, ok := w.conn.(*net.TCPConn); ok {
			return tcp.SetLinger(0)
		}
	case Hang:
		<-w.ctx.Done()
		return w.ctx.Err()
	case Complete, Cut:
	}
	return nil
}

func (w *replyWriter) pause(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func (w *replyWriter) status() int {
	if w.reply.Status == 0 {
		return http.StatusOK
	}
	return w.reply.Status
}

func (w *replyWriter) hasBody() bool {
	status := w.status()
	return w.request.Method != http.MethodHead &&
		status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func writeStatusLine(w io.Writer, status int) {
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
}

// writeLines writes header or trailer lines and the empty line after them.
func writeLines(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintf(w, "%s\r\n", line)
	}
	fmt.Fprint(w, "\r\n")
}
