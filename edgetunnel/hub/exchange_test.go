package hub

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// attach lets an agent into a new hub that handles streams by hand, and returns its route.
func attach(t *testing.T, handle func(*mux.Stream)) (*Route, *mux.Session) {
	t.Helper()
	h := New(Hooks{}, NewOrders())
	near, far := net.Pipe()
	id := Identity{Name: "a", Instance: "i", Token: "t", Handler: DefaultHandler, Allowed: []string{"app"}}
	_, err := h.Attach(id, 1, func(c mux.Config) *mux.Session { return mux.New(near, nil, c) }, mux.Config{})
	require.NoError(t, err)
	agent := mux.New(far, nil, mux.Config{Accept: func(st *mux.Stream) { go handle(st) }})
	require.NoError(t, agent.SendControl(wire.Message{Backends: []wire.BackendState{{Name: "app", Weight: 1}}}.Encode()))
	routes := h.Wait(t.Context(), DefaultHandler, "app")
	require.Len(t, routes, 1)
	return routes[0], agent
}

// TestLanes gives requests connections of their own while there are any.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		handle := func(st *mux.Stream) {
			_, _ = io.WriteString(st, "\x01HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			<-hold
			_ = st.Close()
		}
		route, agent := attach(t, handle)
		a := route.Agent
		sessions := []*mux.Session{agent}
		for range 2 {
			near, far := net.Pipe()
			id := a.Identity
			id.Lane = true
			_, err := a.hub.Attach(id, 1, func(c mux.Config) *mux.Session { return mux.New(near, nil, c) }, mux.Config{})
			require.NoError(t, err)
			sessions = append(sessions, mux.New(far, nil, mux.Config{Accept: func(st *mux.Stream) { go handle(st) }}))
		}
		var bodies []io.Closer
		for range 4 {
			resp, err := route.RoundTrip(newRequest(t, http.MethodGet, "/", nil), netip.AddrPort{}, Timeouts{})
			require.NoError(t, err)
			bodies = append(bodies, resp.Body)
		}
		require.Equal(t, []int{1, 1, 2}, []int{a.lanes[0].Streams(), a.lanes[1].Streams(), a.main.Streams()})
		require.Equal(t, int64(4), a.Active())
		for _, b := range bodies {
			require.NoError(t, b.Close())
		}
		require.Zero(t, a.Active())
		close(hold)
		for _, s := range sessions {
			require.NoError(t, s.Close())
		}
		synctest.Wait()
		require.Zero(t, a.Lanes())
	})
}

// slowBody is a body that a client sends when it wants to.
type slowBody struct{ read, sent chan struct{} }

func (b *slowBody) Read(p []byte) (int, error) {
	close(b.read)
	<-b.sent
	return copy(p, "late"), io.EOF
}

func (*slowBody) Close() error { return nil }

// TestBodyHasOneReader loses the agent while the body is read: nobody else may get the request
// before that has ended.
func TestBodyHasOneReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		confirmed := make(chan struct{})
		route, agent := attach(t, func(st *mux.Stream) {
			_, _ = st.Write([]byte{byte(wire.Accepted)})
			_ = st.AwaitConfirm(time.Minute)
			close(confirmed)
		})
		body := &slowBody{make(chan struct{}), make(chan struct{})}
		r := newRequest(t, http.MethodPost, "/", body)
		r.ContentLength = -1
		done := make(chan error, 1)
		go func() {
			_, err := route.RoundTrip(r, netip.AddrPort{}, Timeouts{Accept: time.Minute})
			done <- err
		}()
		<-confirmed
		<-body.read
		require.NoError(t, agent.Close())
		synctest.Wait()
		require.Empty(t, done, "somebody reads the body still")
		close(body.sent)
		require.Error(t, <-done)
	})
}

// TestConfirmation has requests wait for the agent but those that change nothing.
func TestConfirmation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		confirmed := make(chan error, 1)
		route, agent := attach(t, func(st *mux.Stream) {
			_, _ = st.Write([]byte{byte(wire.Accepted)})
			confirmed <- st.AwaitConfirm(time.Second)
			_, _ = io.WriteString(st, "HTTP/1.1 204 No Content\r\n\r\n")
			_ = st.CloseWrite()
			_ = st.Close()
		})
		for method, waits := range map[string]bool{"GET": false, "HEAD": false, "OPTIONS": false, "POST": true, "DELETE": true, "PURGE": true} {
			resp, err := route.RoundTrip(newRequest(t, method, "/", nil), netip.AddrPort{}, Timeouts{Accept: time.Minute})
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, waits, <-confirmed == nil, method)
		}
		require.NoError(t, agent.Close())
		synctest.Wait()
	})
}

// TestLostBeforeTheAnswer may have been forwarded only if it changes nothing.
func TestLostBeforeTheAnswer(t *testing.T) {
	for method, notTaken := range map[string]bool{"GET": false, "POST": true, "DELETE": true} {
		synctest.Test(t, func(t *testing.T) {
			asked := make(chan struct{})
			route, agent := attach(t, func(*mux.Stream) { close(asked) })
			go func() {
				<-asked
				_ = agent.Close()
			}()
			_, err := route.RoundTrip(newRequest(t, method, "/", nil), netip.AddrPort{}, Timeouts{Accept: time.Minute})
			require.Error(t, err)
			var refused NotTakenError
			if notTaken {
				require.ErrorAs(t, err, &refused, method)
			} else {
				require.NotErrorAs(t, err, &refused, method)
			}
			synctest.Wait()
		})
	}
}

// TestHeaderTimeout is for the header of the response, and begins with the end of the request.
func TestHeaderTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = time.Minute
		route, agent := attach(t, func(st *mux.Stream) {
			_, _ = st.Write([]byte{byte(wire.Accepted)})
			if st.AwaitConfirm(time.Second) == nil { // of requests with a body
				time.Sleep(timeout - time.Second)
			}
			_, _ = io.WriteString(st, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
			time.Sleep(3 * timeout)
			_, _ = io.WriteString(st, "late")
			_ = st.CloseWrite()
			_ = st.Close()
		})
		for _, method := range []string{"GET", "POST"} {
			resp, err := route.RoundTrip(newRequest(t, method, "/", nil), netip.AddrPort{}, Timeouts{Accept: time.Minute, Header: timeout})
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "late", string(body))
		}
		require.NoError(t, agent.Close())
		synctest.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		route, agent := attach(t, func(st *mux.Stream) {
			_, _ = st.Write([]byte{byte(wire.Accepted)})
			_, _ = io.Copy(io.Discard, st)
			_ = st.Close()
		})
		begin := time.Now()
		_, err := route.RoundTrip(newRequest(t, "GET", "/", nil), netip.AddrPort{}, Timeouts{Accept: time.Minute, Header: time.Hour})
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		require.Equal(t, time.Hour, time.Since(begin))
		require.NoError(t, agent.Close())
		synctest.Wait()
	})
}

// TestAgentsThatChangeAllTheTime are held up, rather than all others.
func TestAgentsThatChangeAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route, agent := attach(t, func(*mux.Stream) {})
		begin := time.Now()
		const times = 100
		for weight := range times {
			require.NoError(t, agent.SendControl(wire.Message{Backends: []wire.BackendState{{Name: "app", Weight: weight + 2}}}.Encode()))
		}
		for route.Agent.Backends()[0].Weight != times+1 {
			time.Sleep(time.Millisecond)
		}
		require.GreaterOrEqual(t, time.Since(begin), (times-1)*paceOfChanges)
		// Load alone is no change.
		begin = time.Now()
		for load := range times {
			require.NoError(t, agent.SendControl(wire.Message{Backends: []wire.BackendState{{Name: "app", Weight: times + 1, Load: load + 1}}}.Encode()))
		}
		for route.Agent.Backends()[0].Foreign.Load() != times {
			time.Sleep(time.Millisecond)
		}
		require.Less(t, time.Since(begin), 2*paceOfChanges)
		require.NoError(t, agent.Close())
		synctest.Wait()
	})
}
