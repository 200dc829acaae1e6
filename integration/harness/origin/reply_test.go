package origin

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var dateLine = regexp.MustCompile(`Date: [^\r]*\r\n`)

// exchange sends raw bytes and returns all that the origin sends until it closes,
// without Date lines.
func exchange(t *testing.T, o *Origin, request string) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", o.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(waitLimit)))
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	return string(dateLine.ReplaceAll(got, nil)), err
}

func TestReplyBytes(t *testing.T) {
	tests := map[string]struct {
		reply  Reply
		method string // GET when empty
		want   string
	}{
		"zero": {Reply{}, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		"headers in order, verbatim": {
			Reply{Headers: []string{"b: 1", "A:2", "b: 3"}, Body: []byte("x")}, "",
			"HTTP/1.1 200 OK\r\nb: 1\r\nA:2\r\nb: 3\r\nContent-Length: 1\r\n\r\nx",
		},
		"own length": {
			Reply{Headers: []string{"content-length: 9"}, Body: []byte("x"), Ending: Cut}, "",
			"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
		},
		"chunked with trailer": {
			Reply{Framing: Chunked, Body: []byte("abcde"), ChunkSize: 3, Trailers: []string{"X: y"}}, "",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
		},
		"chunked and cut": {
			Reply{Framing: Chunked, Body: []byte("abc"), Ending: Cut}, "",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		},
		"until close": {
			Reply{Framing: UntilClose, Body: []byte("abc")}, "",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
		},
		"head": {Reply{Body: []byte("abc")}, "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"},
		"not modified": {
			Reply{Status: 304, Headers: []string{"ETag: \"a\""}, Body: []byte("abc")}, "",
			"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
		},
		"interim": {
			Reply{Interim: []Interim{{Status: 103, Headers: []string{"Link: <x>"}}, {Status: 102}}}, "",
			"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		},
		"raw": {Reply{Raw: []byte("HTTP/1.1 200\r\nbad")}, "", "HTTP/1.1 200\r\nbad"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := Start(t)
			o.Handle("/x", tt.reply)
			method := tt.method
			if method == "" {
				method = http.MethodGet
			}
			got, err := exchange(t, o, method+" /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			require.Equal(t, Stats{Arrived: 1, Peak: 1, Finished: 1}, o.Stats("/x"))
		})
	}
}

func TestDate(t *testing.T) {
	o := Start(t)
	o.Handle("/added", Reply{})
	o.Handle("/own", Reply{Headers: []string{"date: yesterday"}})
	o.Handle("/none", Reply{NoDate: true})
	for path, check := range map[string]func(value string){
		"/added": func(value string) {
			date, err := http.ParseTime(value)
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), date, time.Minute)
		},
		"/own":  func(value string) { require.Equal(t, "yesterday", value) },
		"/none": func(value string) { require.Empty(t, value) },
	} {
		resp, err := http.Get(o.URL(path))
		require.NoError(t, err)
		resp.Body.Close()
		check(resp.Header.Get("Date"))
	}
}

func TestResetIsSeenAsReset(t *testing.T) {
	for name, reply := range map[string]Reply{
		"before the header": {Raw: []byte{}, Ending: Reset},
		"inside the body":   {Headers: []string{"Content-Length: 9"}, Body: []byte("abc"), Ending: Reset},
	} {
		t.Run(name, func(t *testing.T) {
			o := Start(t)
			o.Handle("/", reply)
			_, err := exchange(t, o, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			require.ErrorContains(t, err, "connection reset by peer")
		})
	}
}

func TestHangLastsUntilThePeerLeaves(t *testing.T) {
	o := Start(t)
	o.Handle("/", Reply{Framing: Chunked, Body: []byte("a"), Ending: Hang})
	resp, err := http.Get(o.URL("/"))
	require.NoError(t, err)
	first := make([]byte, 1)
	_, err = io.ReadFull(resp.Body, first)
	require.NoError(t, err)
	require.Equal(t, Stats{Arrived: 1, Active: 1, Peak: 1}, o.Stats("/"))

	resp.Body.Close()
	o.WaitAborted(t, "/", 1)
	require.Equal(t, Stats{Arrived: 1, Peak: 1, Aborted: 1}, o.Stats("/"))
}

func TestHeldChunksPassOneByOne(t *testing.T) {
	o := Start(t)
	gate := NewGate()
	o.Handle("/", Reply{Body: []byte("abc"), ChunkSize: 1, HoldChunk: gate})
	resp, err := http.Get(o.URL("/"))
	require.NoError(t, err)
	defer resp.Body.Close()
	one := make([]byte, 1)
	for _, want := range "abc" {
		gate.Step(1)
		_, err := io.ReadFull(resp.Body, one)
		require.NoError(t, err)
		require.Equal(t, string(want), string(one))
	}
	o.Wait(t, "/", func(s Stats) bool { return s.Finished == 1 })
}

func TestDelays(t *testing.T) {
	o := Start(t)
	o.Handle("/", Reply{Body: []byte("ab"), ChunkSize: 1, Delay: 20 * time.Millisecond, ChunkDelay: 10 * time.Millisecond})
	start := time.Now()
	resp, err := http.Get(o.URL("/"))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "ab", string(body))
	require.GreaterOrEqual(t, time.Since(start), 40*time.Millisecond)
}

func TestTakeover(t *testing.T) {
	o := Start(t)
	o.Handle("/", Reply{
		Interim: []Interim{{Status: 101, Headers: []string{"Upgrade: echo", "Connection: Upgrade"}}},
		Takeover: func(_ net.Conn, b *bufio.ReadWriter) {
			line, _ := b.ReadString('\n')
			_, _ = b.WriteString("echo " + line)
			_ = b.Flush()
		},
	})
	got, err := exchange(t, o, "GET / HTTP/1.1\r\nHost: h\r\n\r\nhello\n")
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(got, "\r\n\r\necho hello\n"), got)
	require.True(t, strings.HasPrefix(got, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n"), got)
}

func TestSequenceRepeatsTheLast(t *testing.T) {
	f := Sequence(Reply{Status: 201}, Reply{Status: 202})
	for n, want := range map[int]int{1: 201, 2: 202, 3: 202, 9: 202} {
		require.Equal(t, want, f(&Request{N: n}).Status)
	}
}

func TestConditional(t *testing.T) {
	full := Reply{
		Headers: []string{"etag: \"v1\"", "Last-Modified: Mon, 02 Jan 2006 15:04:05 GMT"},
		Body:    []byte("x"),
	}
	f := Conditional(full)
	tests := map[string]struct {
		header http.Header
		want   int
	}{
		"none":            {http.Header{}, 0},
		"tag":             {http.Header{"If-None-Match": {`"v0", "v1"`}}, 304},
		"other tag":       {http.Header{"If-None-Match": {`"v2"`}}, 0},
		"date":            {http.Header{"If-Modified-Since": {"Mon, 02 Jan 2006 15:04:05 GMT"}}, 304},
		"other date":      {http.Header{"If-Modified-Since": {"Mon, 02 Jan 2006 15:04:06 GMT"}}, 0},
		"tag beats date":  {http.Header{"If-None-Match": {`"v2"`}, "If-Modified-Since": {"Mon, 02 Jan 2006 15:04:05 GMT"}}, 0},
		"no tag of reply": {http.Header{"If-None-Match": {`""`}}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, f(&Request{Header: tt.header}).Status)
		})
	}
	require.Zero(t, Conditional(Reply{})(&Request{Header: http.Header{"If-None-Match": {`"a"`}}}).Status)
}

func TestPatternDiffersBetweenPlaces(t *testing.T) {
	p := Pattern(70_000)
	require.Len(t, p, 70_000)
	require.Equal(t, Pattern(10), p[:10])
	for _, size := range []int{512, 1024, 4096, 32 << 10} {
		require.False(t, bytes.Equal(p[:size], p[size:2*size]), "shifted by %d", size)
	}
}
