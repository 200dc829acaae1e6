package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResponseReader(t *testing.T) {
	for _, test := range []struct {
		name, in string
		status   int
		body     string
		last     bool
		hit      string
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nCache-Status: edge; hit; ttl=5\r\n\r\nabc", 200, "abc", false, "edge; hit; ttl=5"},
		{"no reason", "HTTP/1.1 404\r\ncontent-length:0\r\n\r\n", 404, "", false, ""},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n", 200, "abc0123456789", false, ""},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\nabc", 200, "abc", true, ""},
		{"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", 200, "a", true, ""},
		{"interim", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", false, ""},
		{"not modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, "", false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newResponseReader(strings.NewReader(test.in))
			head, err := r.readHead()
			require.NoError(t, err)
			require.Equal(t, test.status, head.status)
			require.Equal(t, test.last, head.last)
			require.Equal(t, test.hit, string(head.cacheStatus))
			var body []byte
			n, err := r.readBody(func(p []byte) { body = append(body, p...) })
			require.NoError(t, err)
			require.Equal(t, test.body, string(body))
			require.EqualValues(t, len(test.body), n)
		})
	}
}

func TestResponseReaderErrors(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, test := range []struct{ name, in, want string }{
		{"nothing", "", "unexpected EOF"},
		{"old version", "HTTP/1.0 200 OK\r\n\r\n", "status line"},
		{"no code", "HTTP/1.1 2x0 OK\r\n\r\n", "status line"},
		{"small code", "HTTP/1.1 099 OK\r\n\r\n", "status line"},
		{"bare line feed", "HTTP/1.1 200 OK\n\n", "bare line feed"},
		{"no colon", ok + "abc\r\n\r\n", "field line"},
		{"space before colon", ok + "Content-Length : 1\r\n\r\na", "field line"},
		{"length", ok + "Content-Length: -1\r\n\r\n", "Content-Length"},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "Content-Length"},
		{"coding", ok + "Transfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"},
		{"two framings", ok + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "chunked with a length"},
		{"short body", ok + "Content-Length: 3\r\n\r\nab", "unexpected EOF"},
		{"short chunk", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nab", "unexpected EOF"},
		{"no last chunk", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "unexpected EOF"},
		{"long chunk", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", "longer than its size"},
		{"chunk size", ok + "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", "chunk size"},
		{"only interim", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxHeadLines), "too many interim"},
		{"many fields", ok + strings.Repeat("A: b\r\n", maxHeadLines), "too many fields"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newResponseReader(strings.NewReader(test.in))
			_, err := r.readHead()
			if err == nil {
				_, err = r.readBody(nil)
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

// TestResponseReaderKeepsPlace reads responses that follow one another.
func TestResponseReaderKeepsPlace(t *testing.T) {
	const one = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Status: a; hit\r\n\r\nok"
	const two = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
	r := newResponseReader(strings.NewReader(one + two + one))
	for _, want := range []string{"a; hit", "", "a; hit"} {
		head, err := r.readHead()
		require.NoError(t, err)
		require.Equal(t, want, string(head.cacheStatus))
		n, err := r.readBody(nil)
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
	}
}

// FuzzResponseReader: what the reader accepts, net/http reads in the same way.
func FuzzResponseReader(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newResponseReader(bytes.NewReader(in))
		if err := r.readOneHead(); err != nil || r.head.status < 200 {
			return
		}
		var body []byte
		if _, err := r.readBody(func(p []byte) { body = append(body, p...) }); err != nil {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), nil)
		if err != nil {
			return // net/http is stricter about names and values
		}
		defer func() { require.NoError(t, want.Body.Close()) }()
		require.Equal(t, want.StatusCode, r.head.status)
		wantBody, err := io.ReadAll(want.Body)
		if err == nil {
			require.Equal(t, string(wantBody), string(body))
		}
	})
}
