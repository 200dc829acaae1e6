package integration

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// uploaded is what the origin says that it got.
type uploaded struct {
	Hash     string
	Length   int64
	Encoding string // Content-Encoding
	Framing  string // "chunked", or the Content-Length
}

// startUploads starts a site with edge_waf in front of an origin that hashes what it gets.
func startUploads(t *testing.T, waf string) *harness.Edge {
	t.Helper()
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		framing := strconv.FormatInt(r.ContentLength, 10)
		if r.ContentLength < 0 {
			framing = strings.Join(r.TransferEncoding, ",")
		}
		_ = json.NewEncoder(w).Encode(uploaded{hex.EncodeToString(hash.Sum(nil)), n, r.Header.Get("Content-Encoding"), framing})
	}))
	t.Cleanup(o.Close)
	return harness.Start(t, waffedSite, harness.Vars{"waf": waf, "more": "", "origin": o.Listener.Addr().String()})
}

// story is what text without an end repeats. Its length has no divisor in common with that
// of a buffer, so that lost and repeated parts show.
var story = func() []byte {
	var b []byte
	for n := 1; len(b) < 1_000_003; n++ {
		b = fmt.Appendf(b, "page %d of the ordinary story continues here\n", n)
	}
	return b[:1_000_003]
}()

// prose is that text.
type prose struct{ at int }

// Read implements io.Reader.
func (p *prose) Read(b []byte) (int, error) {
	n := copy(b, story[p.at:])
	p.at = (p.at + n) % len(story)
	return n, nil
}

// proseOf returns the first bytes of such text.
func proseOf(size int64) io.Reader { return io.LimitReader(new(prose), size) }

// upload sends content and requires that the origin gets it as it is. Without a length it
// is sent in pieces.
func upload(t *testing.T, client *http.Client, url string, content io.Reader, size int64, length bool, fields ...string) {
	t.Helper()
	req, err := harness.NewRequest(http.MethodPost, url, "", append(fields, polite...)...)
	require.NoError(t, err)
	hash := sha256.New()
	req.Body, req.ContentLength = io.NopCloser(io.TeeReader(content, hash)), -1
	framing := "chunked"
	if length {
		req.ContentLength, framing = size, strconv.FormatInt(size, 10)
	}
	got, err := harness.Send(client, req)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, got.Status, string(got.Body))
	var seen uploaded
	require.NoError(t, json.Unmarshal(got.Body, &seen), string(got.Body))
	require.Equal(t, uploaded{hex.EncodeToString(hash.Sum(nil)), size, req.Header.Get("Content-Encoding"), framing}, seen)
}

const (
	bodyLimit = 128 << 10 // the default
	plainText = "Content-Type: text/plain"
)

// TestWafUploads: the origin gets content byte for byte.
func TestWafUploads(t *testing.T) {
	t.Parallel()
	e := startUploads(t, "edge_waf {\ndecode\ncrs {\npreset rest\n}\n}")
	t.Run("size", func(t *testing.T) { uploadSizes(t, e) })
	t.Run("form", func(t *testing.T) { uploadForms(t, e) })
	t.Run("continue", func(t *testing.T) { uploadsThatWait(t, e) })
}

// uploadSizes sends content of many sizes in each framing. What no rule looks into is read
// and handed on as all else, in less time.
func uploadSizes(t *testing.T, e *harness.Edge) {
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		client := e.Client(p)
		upload(t, client, e.URL("secure")+"/up", proseOf(1<<20), 1<<20, p != harness.H2, plainText)
		for _, size := range []int64{1, 1000, bodyLimit - 1, bodyLimit, bodyLimit + 1, 1 << 20, 16 << 20} {
			for _, length := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d/length=%v", size, length), func(t *testing.T) {
					upload(t, client, e.URL("secure")+"/up", proseOf(size), size, length, "Content-Type: application/octet-stream")
				})
			}
		}
	})
}

// longJSON is an array of text of some size.
func longJSON(size int) []byte {
	var list []string
	for n := 0; n < size; n += 1000 {
		list = append(list, string(story[n:n+1000]))
	}
	text, _ := json.Marshal(map[string]any{"list": list})
	return text
}

// longForm is content of type multipart/form-data with a file of some size.
func longForm(t *testing.T, size int64) (content []byte, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	require.NoError(t, w.WriteField("title", "a story"))
	file, err := w.CreateFormFile("file", "story.txt")
	require.NoError(t, err)
	_, err = io.Copy(file, proseOf(size))
	require.NoError(t, err)
	require.NoError(t, w.WriteField("last", "word"))
	require.NoError(t, w.Close())
	return b.Bytes(), w.FormDataContentType()
}

// uploadForms: content that is cut in the eyes of the rules is neither refused for that
// nor changed.
func uploadForms(t *testing.T, e *harness.Edge) {
	var coded bytes.Buffer
	w := gzip.NewWriter(&coded)
	_, err := io.Copy(w, proseOf(3<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Greater(t, coded.Len(), bodyLimit, "it is cut before it is decoded, too")
	form, boundary := longForm(t, 1<<20)
	short, shortBoundary := longForm(t, 1000)
	for name, test := range map[string]struct {
		p       harness.Proto
		content []byte
		fields  []string
	}{
		"json":            {harness.H1, longJSON(300_000), []string{"Content-Type: application/json"}},
		"short json":      {harness.H2, longJSON(3_000), []string{"Content-Type: application/json"}},
		"multipart":       {harness.H3, form, []string{"Content-Type: " + boundary}},
		"short multipart": {harness.H1, short, []string{"Content-Type: " + shortBoundary}},
		"form":            {harness.H2, []byte("a=b&text=" + strings.Repeat("story+continues+", 20_000)), []string{"Content-Type: application/x-www-form-urlencoded"}},
		"xml":             {harness.H3, []byte("<a>" + strings.Repeat("<b>story</b>", 20_000) + "</a>"), []string{"Content-Type: application/xml"}},
		"gzip":            {harness.H2, coded.Bytes(), []string{plainText, "Content-Encoding: gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			upload(t, e.Client(test.p), e.URL("secure")+"/up", bytes.NewReader(test.content), int64(len(test.content)), test.p == harness.H2, test.fields...)
		})
	}
}

// uploadsThatWait: a client that waits for "100 Continue" gets it.
func uploadsThatWait(t *testing.T, e *harness.Edge) {
	c := &cachedEdge{Edge: e, t: t}
	for _, size := range []int{1, 1 << 20} {
		for _, length := range []bool{true, false} {
			content, err := io.ReadAll(proseOf(int64(size)))
			require.NoError(t, err)
			framing, body := fmt.Sprintf("Content-Length: %d", size), string(content)
			if !length {
				framing, body = "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, content)
			}
			s := c.open()
			s.send("POST /up HTTP/1.1\r\nHost: SITE\r\nAccept: */*\r\nUser-Agent: test\r\n" + plainText + "\r\nExpect: 100-continue\r\n" + framing + "\r\n\r\n")
			resp := s.next()
			require.NotNil(t, resp)
			require.Equal(t, http.StatusContinue, resp.StatusCode)
			s.send(body)
			for resp.StatusCode == http.StatusContinue { // Caddy hands on that of the origin too
				resp = s.next()
				require.NotNil(t, resp)
			}
			require.Equal(t, http.StatusOK, resp.StatusCode)
			var seen uploaded
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&seen))
			require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(content)), seen.Hash)
		}
	}
}

// TestWafUploadsBeyondALimit that is to be kept are refused, however they are framed.
func TestWafUploadsBeyondALimit(t *testing.T) {
	t.Parallel()
	c := startWaffed(t, "edge_waf {\ncrs off\nbody_limit 1KiB reject\n}", "")
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		c := c.in(t)
		for _, length := range []bool{true, false} {
			for size, status := range map[int64]int{1 << 10: http.StatusOK, 1<<10 + 1: http.StatusRequestEntityTooLarge, 1 << 20: http.StatusRequestEntityTooLarge} {
				req, err := harness.NewRequest(http.MethodPost, c.URL("secure")+"/up", "", append(polite, plainText)...)
				require.NoError(t, err)
				req.Body, req.ContentLength = io.NopCloser(proseOf(size)), -1
				if length {
					req.ContentLength = size
				}
				got, err := harness.Send(c.Client(p), req)
				require.NoError(t, err)
				require.Equal(t, status, got.Status, "%d", size)
				all := c.arrived()
				if status == http.StatusOK {
					require.Len(t, all, 1)
					continue
				}
				require.Contains(t, string(got.Body), `"rule_id":"body-limit"`)
				require.Empty(t, all)
			}
		}
	})
}
