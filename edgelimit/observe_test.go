package edgelimit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/adaptive"
)

// notes is an observer that writes down what it is told.
type notes struct {
	told    []string
	streams adaptive.Refusal
}

func (n *notes) note(s string)       { n.told = append(n.told, s) }
func (n *notes) BodyRead(time.Time)  { n.note("body") }
func (n *notes) Header(time.Time)    { n.note("header") }
func (n *notes) Timeout(time.Time)   { n.note("timeout") }
func (n *notes) Abandoned(time.Time) { n.note("abandoned") }
func (n *notes) NoSample()           { n.note("none") }
func (n *notes) Release(time.Time)   { n.note("release") }
func (n *notes) Stream(time.Time) adaptive.Refusal {
	n.note("stream")
	return n.streams
}

func TestObservedHeaders(t *testing.T) {
	write := func(code int) func(w http.ResponseWriter) { return func(w http.ResponseWriter) { w.WriteHeader(code) } }
	for name, tt := range map[string]struct {
		media string
		do    func(w http.ResponseWriter)
		want  string
	}{
		"a page":                      {"text/html", write(200), "header"},
		"an error of the application": {"", write(500), "header"},
		"the first one counts": {"", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
			w.WriteHeader(http.StatusInternalServerError)
		}, "header"},
		"written without": {"", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x") }, "header"},
		"copied without": {"", func(w http.ResponseWriter) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("x"))
		}, "header"},
		"refused at once":   {"", write(503), "none header"},
		"unreachable":       {"", write(502), "none header"},
		"timed out behind":  {"", write(504), "timeout header"},
		"events":            {"Text/Event-Stream; charset=utf-8", write(200), "stream header"},
		"gRPC":              {"application/grpc+proto", write(200), "stream header"},
		"another protocol":  {"", write(101), "none header stream"},
		"taken over":        {"", func(w http.ResponseWriter) { _, _, _ = http.NewResponseController(w).Hijack() }, "none header stream"},
		"early hints alone": {"", write(103), ""},
	} {
		n := &notes{}
		w := &originWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: &hijackable{httptest.NewRecorder()}}, observer: n}
		if tt.media != "" {
			w.Header().Set("Content-Type", tt.media)
		}
		tt.do(w)
		require.Equal(t, tt.want, strings.Join(n.told, " "), name)
		require.Equal(t, tt.want != "", w.wrote, name)
	}
}

// TestRefusedStreams: nothing of the origin's answer gets through, and whoever
// copies it is told to stop.
func TestRefusedStreams(t *testing.T) {
	for name, send := range map[string]func(w http.ResponseWriter){
		"header":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) },
		"at once": func(http.ResponseWriter) {},
	} {
		n := &notes{streams: adaptive.Refusal{Reason: adaptive.StreamsFull, RetryAfter: 1500 * time.Millisecond}}
		rec := httptest.NewRecorder()
		var refusals []adaptive.Refusal
		w := &originWriter{
			ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: rec}, observer: n,
			refuse: func(refusal adaptive.Refusal) { refusals = append(refusals, refusal) },
		}
		w.Header().Set("Content-Type", "text/event-stream")
		send(w)
		_, err := io.WriteString(w, "data: 1")
		require.ErrorIs(t, err, errRefused, name)
		_, err = w.ReadFrom(strings.NewReader("data: 2"))
		require.ErrorIs(t, err, errRefused, name)
		w.WriteHeader(http.StatusOK)
		require.Equal(t, []adaptive.Refusal{n.streams}, refusals, name)
		require.Empty(t, rec.Body.String(), name)
		require.Equal(t, []string{"stream", "header"}, n.told, name)
	}
}

// TestConnectIsASwitch: a WebSocket over HTTP/2 and 3 begins with a 200.
func TestConnectIsASwitch(t *testing.T) {
	for code, want := range map[int]string{200: "none header stream", 403: "header", 502: "none header"} {
		n := &notes{}
		w := &originWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: httptest.NewRecorder()}, observer: n, connect: true}
		w.WriteHeader(code)
		require.Equal(t, want, strings.Join(n.told, " "), code)
	}
}

type hijackable struct{ *httptest.ResponseRecorder }

func (*hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

func TestObservedEnds(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	read := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	for name, tt := range map[string]struct {
		err  error
		gone bool
		want string
	}{
		"given up by a cache":    {errors.New("other"), true, "timeout"},
		"nothing written":        {nil, false, "header"},
		"the client left":        {caddyhttp.Error(499, context.Canceled), true, "abandoned"},
		"refused connection":     {caddyhttp.Error(502, &net.OpError{Op: "dial", Err: errors.New("refused")}), false, "none"},
		"connecting timed out":   {caddyhttp.Error(502, dial), false, "none"},
		"even as a 504":          {caddyhttp.Error(504, dial), false, "none"},
		"reset":                  {caddyhttp.Error(502, io.ErrUnexpectedEOF), false, "none"},
		"no answer in time":      {caddyhttp.Error(504, errors.New("timeout")), false, "timeout"},
		"reading timed out":      {caddyhttp.Error(502, read), false, "timeout"},
		"deadline":               {context.DeadlineExceeded, false, "timeout"},
		"an open breaker":        {caddyhttp.Error(503, errors.New("open")), false, "none"},
		"an error of the config": {errors.New("other"), false, "none"},
	} {
		n := &notes{}
		ctx, cancel := context.WithCancelCause(context.Background())
		if tt.gone {
			var cause error
			if tt.want == "timeout" {
				cause = os.ErrDeadlineExceeded
			}
			cancel(cause)
		}
		observeEnd(n, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil), tt.err)
		cancel(nil)
		require.Equal(t, tt.want, strings.Join(n.told, " "), name)
	}
}

func TestObservedBodies(t *testing.T) {
	type step struct{ read, told int }
	for name, tt := range map[string]struct {
		length int64
		steps  []step
	}{
		"known length":         {6, []step{{4, 0}, {2, 1}, {1, 1}}},
		"unknown length":       {-1, []step{{4, 0}, {2, 0}, {1, 1}, {1, 1}}},
		"longer than it says":  {4, []step{{4, 1}, {4, 1}}},
		"shorter than it says": {10, []step{{6, 0}, {1, 1}}},
	} {
		n := &notes{}
		b := newBody(io.NopCloser(strings.NewReader("abcdef")), tt.length, n)
		for i, s := range tt.steps {
			_, err := b.Read(make([]byte, s.read))
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
			}
			require.Len(t, n.told, s.told, "%s, read %d", name, i)
		}
	}
	n := &notes{}
	require.NoError(t, newBody(io.NopCloser(strings.NewReader("abcdef")), 6, n).Close())
	require.Empty(t, n.told, "closing is not reading")
}
