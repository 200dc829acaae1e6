package edgecache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// stuckWriter is a client that takes nothing until it is let go.
type stuckWriter struct {
	*httptest.ResponseRecorder
	letGo <-chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.letGo
	return w.ResponseRecorder.Write(p)
}

// TestSlowReadersAreCharged: what waits for slow clients of responses that are
// not stored is part of the budget, is little, and is given back.
func TestSlowReadersAreCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			clients = 8
			share   = 64 << 10
			piece   = 8 << 10
			size    = 1 << 20
		)
		body := pattern(size)
		var taken atomic.Int64
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			for rest := body; len(rest) > 0; rest = rest[piece:] {
				if _, err := w.Write(rest[:piece]); err != nil {
					return
				}
				taken.Add(piece)
			}
		})
		defer cleanup()
		letGo := make(chan struct{})
		release := sync.OnceFunc(func() { close(letGo) })
		defer release()
		writers := make([]*stuckWriter, clients)
		var done sync.WaitGroup
		for i := range writers {
			writers[i] = &stuckWriter{httptest.NewRecorder(), letGo}
			done.Go(func() {
				g.serve(writers[i], httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://example.com/%d", i), nil))
			})
			synctest.Wait()
			reserved := g.shared.memory.Stats().Reserved
			require.Positive(t, reserved)
			require.LessOrEqual(t, reserved, int64(i+1)*share, "charged for %d", i+1)
			require.LessOrEqual(t, taken.Load(), reserved+int64(i+1)*piece, "no more than that is held for %d", i+1)
		}
		release()
		done.Wait()
		synctest.Wait()
		require.Zero(t, g.shared.memory.Stats().Reserved)
		for _, w := range writers {
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, body, w.Body.Bytes())
		}
	})
}

// TestSlowReaderThatLeavesIsNotCharged: a client that goes away gives back what
// waited for it.
func TestSlowReaderThatLeavesIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := pattern(1 << 20)
		g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			_, _ = w.Write(body)
		})
		defer cleanup()
		letGo := make(chan struct{})
		release := sync.OnceFunc(func() { close(letGo) })
		defer release()
		w := &failingWriter{stuckWriter{httptest.NewRecorder(), letGo}}
		var done sync.WaitGroup
		done.Go(func() { g.serve(w, httptest.NewRequest(http.MethodGet, "http://example.com/", nil)) })
		synctest.Wait()
		require.Positive(t, g.shared.memory.Stats().Reserved)
		release()
		done.Wait()
		synctest.Wait()
		require.Zero(t, g.shared.memory.Stats().Reserved)
	})
}

// failingWriter is a client whose connection breaks when it is let go.
type failingWriter struct{ stuckWriter }

func (w *failingWriter) Write([]byte) (int, error) {
	<-w.letGo
	return 0, http.ErrHandlerTimeout
}

// TestSlowReadersStayChargedAfterTheFetch: the fetch is over before its clients have
// everything. What is kept for them is part of the budget until they have.
func TestSlowReadersStayChargedAfterTheFetch(t *testing.T) {
	for _, tt := range []struct {
		name, control string
		length        bool
		purged        bool
	}{
		{name: "not stored", control: "no-store"},
		{name: "too large", control: "max-age=60"},
		{name: "truncated", control: "max-age=60", length: true},
		{name: "purged meanwhile", control: "max-age=60", purged: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 40 << 10
				body := pattern(size)
				config := `{}`
				if tt.name == "too large" {
					config = `{"max_object_size": 20000}`
				}
				n := 0
				g, cleanup := newRig(t, config, nil)
				defer cleanup()
				g.origin = caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
					n++
					w.Header().Set("Cache-Control", tt.control)
					if tt.length {
						w.Header().Set("Content-Length", fmt.Sprint(size+1))
					}
					for rest := body; len(rest) > 0; rest = rest[10<<10:] {
						if _, err := w.Write(rest[:10<<10]); err != nil {
							return err
						}
					}
					if tt.purged {
						g.shared.purge(purge.Purge{Kind: purge.All})
					}
					return nil
				})
				letGo := make(chan struct{})
				release := sync.OnceFunc(func() { close(letGo) })
				defer release()
				w := &stuckWriter{httptest.NewRecorder(), letGo}
				var done sync.WaitGroup
				done.Go(func() { g.serve(w, httptest.NewRequest(http.MethodGet, "http://example.com/", nil)) })
				synctest.Wait()
				require.Empty(t, g.flights.running, "the fetch is over")
				require.GreaterOrEqual(t, g.shared.memory.Stats().Reserved, int64(size))
				release()
				done.Wait()
				synctest.Wait()
				require.Zero(t, g.shared.memory.Stats().Reserved)
				require.Equal(t, body, w.Body.Bytes())
				require.Equal(t, 1, n)
			})
		})
	}
}
