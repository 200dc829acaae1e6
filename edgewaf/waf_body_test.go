package edgewaf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"
)

// attack is what every way of looking must find.
const attack = "1' union select password from users-- -"

// upload is a request with content of a type.
func upload(contentType string, content []byte, fields ...string) *http.Request {
	return browse("POST", "/upload", string(content), append([]string{"Content-Type: " + contentType}, fields...)...)
}

// zipped compresses content.
func zipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// random is content that looks like nothing.
func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestContentReachesTheOriginWhole(t *testing.T) {
	const limit = 1000
	g := newWafRig(t, `"body": {"limit": 1000}, "crs": {"presets": [{"name": "rest"}]}`)
	for _, n := range []int{0, 1, limit - 1, limit, limit + 1, 3 * limit, 1 << 20} {
		content := random(n)
		for name, r := range map[string]*http.Request{
			"length":  upload("application/octet-stream", content),
			"chunked": chunked(upload("application/octet-stream", nil), bytes.NewReader(content)),
			"bytes":   chunked(upload("application/octet-stream", nil), iotest.OneByteReader(bytes.NewReader(content[:min(n, 5000)]))),
		} {
			want := content
			if name == "bytes" {
				want = content[:min(n, 5000)]
			}
			w := g.do(r)
			require.Equal(t, http.StatusOK, w.Code, "%s of %d: %s", name, n, w.Body)
			require.Equal(t, string(want), g.got, "%s of %d", name, n)
		}
	}
}

// TestErrorOfContentReachesTheOrigin: a client that breaks off within what is looked at,
// and behind it.
func TestErrorOfContentReachesTheOrigin(t *testing.T) {
	g := newWafRig(t, `"body": {"limit": 100}`)
	broken := errors.New("broken off")
	for _, n := range []int{10, 1000} {
		w := g.do(chunked(upload("text/plain", nil), io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("a"), n)), iotest.ErrReader(broken))))
		require.Equal(t, http.StatusBadGateway, w.Code, n)
		require.Contains(t, w.Body.String(), broken.Error())
	}
}

// longJSON is valid JSON beyond the limit.
func longJSON(n int, value string) []byte {
	var list []string
	for i := range 200 {
		list = append(list, fmt.Sprintf("item %d %s", i, strings.Repeat("word ", n/1000)))
	}
	list[0] = value
	data, _ := json.Marshal(map[string]any{"list": list})
	return data
}

func TestCutContentNeverBlocksByItself(t *testing.T) {
	g := newWafRig(t, `"body": {"limit": 4096}`)
	long := strings.Repeat("word ", 20000)
	multi := "--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n" + long + "\r\n--b\r\nContent-Disposition: form-data; name=\"u\"\r\n\r\nx\r\n--b--\r\n"
	for contentType, content := range map[string]string{
		"application/json":                  string(longJSON(100000, "first")),
		"application/x-www-form-urlencoded": "a=" + strings.Repeat("w%20", 30000),
		"multipart/form-data; boundary=b":   multi,
		"application/xml":                   "<a><b>x</b><c d='e'>" + long + "</c></a>",
		"text/xml":                          "<a><b>x</b><![CDATA[" + long + "]]></a>",
		"text/plain":                        long,
	} {
		for n := range 60 { // so that each kind is cut in many places
			g.Body.Limit = int64(4096 - n)
			w := g.do(upload(contentType, []byte(content)))
			require.Equal(t, http.StatusOK, w.Code, "%s: %s %+v", contentType, w.Body, g.state.latest(1, nil))
			require.Equal(t, content, g.got)
		}
	}
}

func TestCutContentIsLookedAt(t *testing.T) {
	g := newWafRig(t, `"body": {"limit": 4096}, "basic": "off"`)
	long := strings.Repeat("word ", 20000)
	for contentType, content := range map[string]string{
		"application/json":                  string(longJSON(100000, attack)),
		"application/x-www-form-urlencoded": "a=" + strings.ReplaceAll(attack, " ", "+") + "&b=" + strings.Repeat("w%20", 30000),
		"multipart/form-data; boundary=b":   "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" + attack + "\r\n--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n" + long + "\r\n--b--\r\n",
		"application/xml":                   "<a><c>" + attack + "</c><b>" + long + "</b></a>",
	} {
		w := g.do(upload(contentType, []byte(content)))
		require.Equal(t, http.StatusForbidden, w.Code, contentType)
	}
}

func TestContentBeyondTheLimitIsRefused(t *testing.T) {
	g := newWafRig(t, `"body": {"limit": 100, "on_limit": "reject"}`)
	w := g.do(upload("text/plain", bytes.Repeat([]byte("a"), 101)))
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"body-limit"`)
	require.EqualValues(t, 1, g.state.counts[outcomeTooLong].Load())
	require.Equal(t, http.StatusOK, g.do(upload("text/plain", bytes.Repeat([]byte("a"), 100))).Code)
	w = g.do(upload("application/json", zipped(t, longJSON(10000, "x")), "Content-Encoding: gzip"))
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code, "what it decodes to counts")
}

func TestCompressedContent(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "body": {"decode": true}`)
	bad, _ := json.Marshal(map[string]string{"q": attack})
	require.Equal(t, http.StatusForbidden, g.do(upload("application/json", zipped(t, bad), "Content-Encoding: gzip")).Code)
	good := zipped(t, []byte(`{"q":"shoes"}`))
	w := g.do(upload("application/json", good, "Content-Encoding: gzip"))
	require.Equal(t, http.StatusOK, w.Code, "%s %+v", w.Body, g.state.latest(1, nil))
	require.Equal(t, string(good), g.got, "the origin gets it as it came")
	bomb := zipped(t, bytes.Repeat([]byte("a"), 32<<20))
	w = g.do(upload("text/plain", bomb, "Content-Encoding: gzip"))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	// What can't be looked into is for the rule set to refuse.
	w = g.do(upload("application/json", []byte("xx"), "Content-Encoding: compress"))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"920450"`)
}

// TestCodingsThatNobodyUndoes: an origin that does not decode reads what is there, so it
// is not enough to look at what it would decode to.
func TestCodingsThatNobodyUndoes(t *testing.T) {
	hidden := "a\x00\x00\xff\xff=1&q=" + strings.ReplaceAll(attack, " ", "+") // a stream of deflate that is empty
	for _, options := range []string{`"basic": "off"`, `"basic": "off", "body": {"decode": true}`} {
		g := newWafRig(t, options)
		w := g.do(upload("application/x-www-form-urlencoded", []byte(hidden), "Content-Encoding: deflate"))
		require.Equal(t, http.StatusForbidden, w.Code)
	}
	g := newWafRig(t, "")
	w := g.do(upload("application/json", zipped(t, []byte("{}")), "Content-Encoding: gzip"))
	require.Equal(t, http.StatusForbidden, w.Code, "nobody has said that the origin decodes")
}

// TestTextIsNoWayAround: what is text for us may be a form or JSON for an origin.
func TestTextIsNoWayAround(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "body": {"limit": 4096}`)
	asJSON, _ := json.Marshal(map[string]string{"q": attack})
	for name, content := range map[string]string{
		"JSON": string(asJSON), "JSON and more": string(asJSON) + " x", "JSON behind space": strings.Repeat(" ", 200) + string(asJSON),
		"long JSON": string(longJSON(100000, attack)), "form": "a=1&q=" + strings.ReplaceAll(attack, " ", "+"), "script": "<script>alert(1)</script>",
	} {
		for _, contentType := range []string{"text/plain", "text/plain; charset=utf-8", ""} {
			r := upload(contentType, []byte(content))
			if contentType == "" {
				r.Header.Del("Content-Type")
			}
			require.Equal(t, http.StatusForbidden, g.do(r).Code, "%s as %q", name, contentType)
		}
	}
}

// TestStreamsAreNotRead: what has no end to wait for is handed on before it is read.
func TestStreamsAreNotRead(t *testing.T) {
	g := newWafRig(t, `"crs": {"presets": [{"name": "grpc"}]}`)
	read := false
	g.origin = func(w http.ResponseWriter, _ *http.Request) error {
		if !read { // by the rig's origin, behind the firewall
			return errors.New("was not read")
		}
		return nil
	}
	for _, contentType := range []string{"application/grpc", "application/grpc+proto"} {
		read = false
		r := chunked(upload(contentType, nil), readFunc(func(p []byte) (int, error) {
			require.Equal(t, 1, g.asked, "read before the origin was asked")
			read = true
			return 0, io.EOF
		}))
		r.ProtoMajor = 2
		r.Header.Set("Te", "trailers")
		g.asked = 0
		require.Equal(t, http.StatusOK, g.do(r).Code)
		require.True(t, read)
	}
}

// TestWhatIsCalledAStreamIsRead: over HTTP/1 there is no gRPC.
func TestWhatIsCalledAStreamIsRead(t *testing.T) {
	g := newWafRig(t, `"basic": "off", "crs": {"presets": [{"name": "grpc"}]}`)
	asJSON, _ := json.Marshal(map[string]string{"q": attack})
	require.Equal(t, http.StatusForbidden, g.do(upload("application/grpc", asJSON)).Code)
}

// TestWebSocketsOfHTTP2And3 are requests whose content has no end, and GETs for rules.
func TestWebSocketsOfHTTP2And3(t *testing.T) {
	g := newWafRig(t, "")
	r := chunked(browse("CONNECT", "/chat", ""), readFunc(func([]byte) (int, error) {
		if g.asked == 0 {
			panic("read before the origin was asked")
		}
		return 0, io.EOF
	}))
	r.ProtoMajor, r.Proto, r.TransferEncoding = 3, "websocket", nil
	w := g.do(r)
	require.Equal(t, http.StatusOK, w.Code, "%s %+v", w.Body, g.state.latest(1, nil))
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestBodyOff(t *testing.T) {
	g := newWafRig(t, `"body": {"limit": -1}`)
	bad, _ := json.Marshal(map[string]string{"q": attack})
	require.Equal(t, http.StatusOK, g.do(upload("application/json", bad)).Code)
	require.Equal(t, string(bad), g.got)
}
