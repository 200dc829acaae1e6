package edgetunnel

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// serveH2C runs a backend with HTTP/2 and returns its address for an agent.
func serveH2C(t *testing.T, backend http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(backend)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return "h2c://" + server.Listener.Addr().String()
}

// TestServerSpeaksFirst answers before there is any of the body, as gRPC may.
func TestServerSpeaksFirst(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connectTo("a", serveH2C(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello\n")
		_ = http.NewResponseController(w).Flush()
		line, _ := bufio.NewReader(r.Body).ReadString('\n')
		fmt.Fprint(w, line)
	}))
	e.serving(1)
	body, send := io.Pipe()
	resp, err := h2cClient(t).Do(request(t, "POST", e.url()+"/", body))
	require.NoError(t, err)
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
	fmt.Fprint(send, "answer\n")
	line, err = in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "answer\n", line)
	require.NoError(t, send.Close())
}

// TestUpgradedDirectionsEndAlone has the backend end its direction, and the client go on.
func TestUpgradedDirectionsEndAlone(t *testing.T) {
	e := newEdge(t)
	e.load()
	got := make(chan string, 1)
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nbye\n")
		_ = rw.Flush()
		_ = conn.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(rw)
		got <- fmt.Sprint(string(b), err)
	}))
	e.serving(1)
	conn, in := e.dialUpgrade()
	text, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, "bye\n", string(text))
	fmt.Fprint(conn, "after that")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.Equal(t, "after that<nil>", <-got)
}
