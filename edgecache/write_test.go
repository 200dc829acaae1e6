package edgecache

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// pacedWriter is a client's connection that takes so many bytes a second, as long as the
// deadline of each write allows.
type pacedWriter struct {
	header   http.Header
	perByte  func(n int) time.Duration // for n bytes
	deadline time.Time
	sizes    []int // of the writes that come to the connection
	got      int
}

var errLate = errors.New("write deadline exceeded")

func (w *pacedWriter) Header() http.Header                { return w.header }
func (w *pacedWriter) WriteHeader(int)                    {}
func (w *pacedWriter) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }

func (w *pacedWriter) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	takes := w.perByte(len(p))
	if left := time.Until(w.deadline); !w.deadline.IsZero() && takes > left {
		time.Sleep(left)
		return 0, errLate
	}
	time.Sleep(takes)
	w.got += len(p)
	return len(p), nil
}

// paced sends a body of chunks to a client through the writer by which Caddy's server bounds
// each write, and returns what came to its connection.
func paced(timeout time.Duration, perByte func(n int) time.Duration, chunks ...int) (w *pacedWriter, idle *caddyhttp.IdleTimeoutWriter) {
	w = &pacedWriter{header: make(http.Header), perByte: perByte}
	idle = &caddyhttp.IdleTimeoutWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		Ctrl:                  http.NewResponseController(w),
		Deadline:              caddyhttp.IdleDeadline{Timeout: timeout},
		MaxChunk:              12345,
		Logger:                zap.NewNop(),
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(caddyhttp.ContextWithIdleTimeouts(r.Context(), nil, idle))
	var body [][]byte
	for _, n := range chunks {
		body = append(body, make([]byte, n))
	}
	writeChunks(idle, r, body)
	return w, idle
}

func TestWritesGrowWhileTheClientKeepsUp(t *testing.T) {
	const k, m = 1 << 10, 1 << 20
	quick := func(int) time.Duration { return time.Millisecond }
	for _, test := range []struct {
		name   string
		pace   func(n int) time.Duration
		chunks []int
		want   []int
	}{
		{"quick", quick, []int{8 * m}, []int{64 * k, 256 * k, m, 2 * m, 2 * m, 2 * m, 704 * k}},
		{"small", quick, []int{10 * k}, []int{10 * k}},
		{"several chunks", quick, []int{100 * k, 300 * k, 3 * m}, []int{64 * k, 36 * k, 256 * k, 44 * k, m, 2 * m}},
		// A piece that took long is followed by a small one.
		{"slow at times", func(n int) time.Duration {
			if n >= m {
				return fastWrite
			}
			return fastWrite - time.Microsecond
		}, []int{3 * m}, []int{64 * k, 256 * k, m, 64 * k, 256 * k, m, 64 * k, 256 * k, 64 * k}},
		{"slow", func(int) time.Duration { return fastWrite }, []int{256 * k}, []int{64 * k, 64 * k, 64 * k, 64 * k}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, idle := paced(time.Minute, test.pace, test.chunks...)
				require.Equal(t, test.want, w.sizes)
				require.Equal(t, 12345, idle.MaxChunk, "others find the writer as it was")
			})
		})
	}
}

// TestSlowClientsGetEverything: what a client takes steadily, be it slowly, arrives whole
// though the idle timeout is short.
func TestSlowClientsGetEverything(t *testing.T) {
	const size = 16 << 20
	for _, test := range []struct {
		name    string
		timeout time.Duration
		pace    func(n int) time.Duration
	}{
		{"5 MB/s", 100 * time.Millisecond, func(n int) time.Duration { return time.Duration(n) * time.Second / 5e6 }},
		{"100 KB/s", time.Second, func(n int) time.Duration { return time.Duration(n) * time.Second / 100e3 }},
		{"quick, then 200 KB/s", time.Second, func() func(n int) time.Duration {
			start := time.Now()
			return func(n int) time.Duration {
				if time.Since(start) < 10*time.Millisecond {
					return time.Millisecond
				}
				return time.Duration(min(n, 64<<10)) * time.Second / 200e3
			}
		}()},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := paced(test.timeout, test.pace, size/2, size/2)
				require.Equal(t, size, w.got)
			})
		})
	}
	t.Run("without timeouts", func(t *testing.T) {
		w := &pacedWriter{header: make(http.Header), perByte: func(int) time.Duration { return 0 }}
		writeChunks(w, httptest.NewRequest(http.MethodGet, "/", nil), [][]byte{make([]byte, 3<<20), make([]byte, 5)})
		require.Equal(t, []int{3 << 20, 5}, w.sizes)
	})
	t.Run("a client that is gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, idle := paced(time.Second, func(int) time.Duration { return time.Hour }, size)
			require.Len(t, w.sizes, 1)
			require.Zero(t, w.got)
			require.Equal(t, 12345, idle.MaxChunk)
		})
	})
}
