package origin

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestScriptsByPathAndPrefix(t *testing.T) {
	o := Start(t)
	o.Handle("/a", Reply{Body: []byte("exact")})
	o.Handle("/a*", Reply{Body: []byte("short prefix")})
	o.Handle("/a/b/*", Reply{Body: []byte("long prefix")})
	for path, want := range map[string]string{
		"/a":       "exact",
		"/a?q=1":   "exact",
		"/ab":      "short prefix",
		"/a/b/c?q": "long prefix",
	} {
		status, body := get(t, o.URL(path))
		require.Equal(t, 200, status)
		require.Equal(t, want, body, path)
	}
	status, body := get(t, o.URL("/none"))
	require.Equal(t, 404, status)
	require.Equal(t, "no script for /none\n", body)

	o.Handle("/a", Reply{Body: []byte("new")})
	_, body = get(t, o.URL("/a"))
	require.Equal(t, "new", body)
}

func TestRequestsAreRecorded(t *testing.T) {
	o := Start(t)
	o.HandleFunc("/p", func(r *Request) Reply { return Reply{Body: []byte(strings.Repeat("x", r.N))} })
	_, _ = get(t, o.URL("/p?a=1"))
	resp, err := http.Post(o.URL("/p"), "text/plain", strings.NewReader("content"))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "xx", string(body))
	_, _ = get(t, o.URL("/other"))

	found := o.Requests("/p")
	require.Len(t, found, 2)
	require.Equal(t, "/p?a=1", found[0].URI)
	require.Equal(t, o.Addr(), found[0].Host)
	require.Equal(t, http.MethodPost, found[1].Method)
	require.Equal(t, "content", string(found[1].Body))
	require.Equal(t, "text/plain", found[1].Header.Get("Content-Type"))
	require.Len(t, o.Requests(""), 3)
	require.Equal(t, 1, o.Connections(), "the client keeps its connection")

	o.Forget()
	require.Empty(t, o.Requests(""))
	require.Zero(t, o.Stats("/p"))
}

func TestPeakCountsRequestsAtOneTime(t *testing.T) {
	o := Start(t)
	gate := NewGate()
	o.Handle("/", Reply{HoldHeader: gate})
	done := make(chan error, 3)
	for range 3 {
		go func() {
			resp, err := http.Get(o.URL("/"))
			if err == nil {
				resp.Body.Close()
			}
			done <- err
		}()
	}
	o.WaitActive(t, "/", 3)
	gate.Step(2)
	o.WaitActive(t, "/", 1)
	gate.Open()
	for range 3 {
		require.NoError(t, <-done)
	}
	o.WaitActive(t, "/", 0)
	require.Equal(t, Stats{Arrived: 3, Peak: 3, Finished: 3}, o.Stats("/"))
}

func TestExpectContinue(t *testing.T) {
	o := Start(t)
	o.HandleFunc("/", func(r *Request) Reply { return Reply{Body: r.Body} })
	got, err := exchange(t, o, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", got)
}

func TestPipelinedRequestsAreAnsweredInTurn(t *testing.T) {
	o := Start(t)
	o.HandleFunc("/*", func(r *Request) Reply { return Reply{Body: []byte(r.Path)} })
	got, err := exchange(t, o, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	require.NotContains(t, got, "no script")
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(got, "/1"+"HTTP/1.1 200"))
	require.True(t, strings.HasSuffix(got, "\r\n\r\n/2"), got)
}

func TestCloseEndsEverything(t *testing.T) {
	defer goleak.VerifyNone(t)
	o, err := New()
	require.NoError(t, err)
	o.Handle("/held", Reply{HoldHeader: NewGate()})
	o.Handle("/hung", Reply{Framing: Chunked, Ending: Hang})
	client := &http.Client{Transport: new(http.Transport)}
	done := make(chan struct{}, 2)
	for _, path := range []string{"/held", "/hung"} {
		go func() {
			if resp, err := client.Get(o.URL(path)); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			done <- struct{}{}
		}()
	}
	o.WaitActive(t, "/held", 1)
	o.WaitActive(t, "/hung", 1)
	o.Close()
	<-done
	<-done
	client.CloseIdleConnections()
	_, err = http.Get(o.URL("/"))
	require.Error(t, err)
}

func TestCloseConnectionsKeepsServing(t *testing.T) {
	o := Start(t)
	o.Handle("/", Reply{Body: []byte("ok")})
	_, _ = get(t, o.URL("/"))
	o.CloseConnections()
	// net/http may meet the closed connection once, and then tries another.
	_, body := get(t, o.URL("/"))
	require.Equal(t, "ok", body)
	require.Equal(t, 2, o.Connections())
}
