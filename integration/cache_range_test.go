package integration

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

const modified = "Wed, 01 Jan 2025 00:00:00 GMT"

func TestRangeFromTheStore(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	body := origin.Pattern(200_000)
	c.origin.Handle("/file", origin.Reply{
		Headers: []string{minute, `ETag: "1"`, "Last-Modified: " + modified, "Content-Type: text/plain"}, Body: body,
	})
	c.get("/file")
	for _, tc := range []struct {
		name         string
		lines        []string
		status       int
		contentRange string
		from, to     int
	}{
		{"first", []string{"Range: bytes=0-9"}, 206, "bytes 0-9/200000", 0, 10},
		{"middle", []string{"Range: bytes=65530-131079"}, 206, "bytes 65530-131079/200000", 65530, 131080},
		{"open end", []string{"Range: bytes=199990-"}, 206, "bytes 199990-199999/200000", 199990, 200000},
		{"suffix", []string{"Range: bytes=-5"}, 206, "bytes 199995-199999/200000", 199995, 200000},
		{"suffix beyond the size", []string{"Range: bytes=-300000"}, 206, "bytes 0-199999/200000", 0, 200000},
		{"end beyond the size", []string{"Range: bytes=199000-999999"}, 206, "bytes 199000-199999/200000", 199000, 200000},
		{"If-Range tag", []string{"Range: bytes=0-9", `If-Range: "1"`}, 206, "bytes 0-9/200000", 0, 10},
		{"If-Range date", []string{"Range: bytes=0-9", "If-Range: " + modified}, 206, "bytes 0-9/200000", 0, 10},
		{"If-Range other tag", []string{"Range: bytes=0-9", `If-Range: "2"`}, 200, "", 0, 200000},
		{"If-Range weak tag", []string{"Range: bytes=0-9", `If-Range: W/"1"`}, 200, "", 0, 200000},
		{"If-Range older date", []string{"Range: bytes=0-9", "If-Range: Wed, 01 Jan 2020 00:00:00 GMT"}, 200, "", 0, 200000},
		{"other unit", []string{"Range: lines=0-9"}, 416, "", 0, 0},
		{"If-None-Match first", []string{"Range: bytes=0-9", `If-None-Match: "1"`}, 304, "", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := c.in(t)
			got := c.get("/file", tc.lines...)
			if tc.name == "other unit" {
				// RFC 9110 section 14.2: an unknown unit is ignored, or refused.
				require.Contains(t, []int{200, 416}, got.Status)
				return
			}
			require.Equal(t, tc.status, got.Status)
			require.Equal(t, tc.contentRange, got.Header.Get("Content-Range"))
			require.Equal(t, string(body[tc.from:tc.to]), string(got.Body))
			require.Equal(t, `"1"`, got.Header.Get("ETag"))
			require.Contains(t, cacheStatus(got), "edge; hit")
		})
	}
	t.Run("unsatisfiable", func(t *testing.T) {
		c := c.in(t)
		got := c.get("/file", "Range: bytes=200000-")
		require.Equal(t, 416, got.Status)
		require.Equal(t, "bytes */200000", got.Header.Get("Content-Range"))
	})
	t.Run("several", func(t *testing.T) {
		c := c.in(t)
		got := c.get("/file", "Range: bytes=0-9,150000-150009,5-7")
		requireParts(t, got, body, [2]int{0, 10}, [2]int{150000, 150010}, [2]int{5, 8})
	})
	t.Run("HEAD", func(t *testing.T) {
		c := c.in(t)
		got := c.do(http.MethodHead, "/file", "", "Range: bytes=0-9")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, "200000", got.Header.Get("Content-Length"))
	})
	c.requireArrived("/file", 1)
}

// requireParts checks a multipart/byteranges response.
func requireParts(t *testing.T, got *harness.Response, body []byte, parts ...[2]int) {
	t.Helper()
	require.Equal(t, http.StatusPartialContent, got.Status)
	media, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/byteranges", media)
	r := multipart.NewReader(strings.NewReader(string(got.Body)), params["boundary"])
	for _, p := range parts {
		part, err := r.NextPart()
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("bytes %d-%d/%d", p[0], p[1]-1, len(body)), part.Header.Get("Content-Range"))
		content, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, string(body[p[0]:p[1]]), string(content))
	}
	_, err = r.NextPart()
	require.ErrorIs(t, err, io.EOF)
}

func TestRangeOnAMissFetchesTheWhole(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	client := c.Client(harness.H1)
	const size = 400_000
	body := origin.Pattern(size)
	gate := origin.NewGate()
	c.origin.Handle("/file", origin.Reply{Headers: []string{minute, `ETag: "1"`}, Body: body, ChunkSize: size / 4, HoldChunk: gate})

	// The beginning has arrived when the first range is answered; the end has not.
	gate.Step(1)
	early, err := harness.Send(client, c.request(http.MethodGet, "/file", "Range: bytes=10-19"))
	require.NoError(t, err)
	require.Equal(t, http.StatusPartialContent, early.Status)
	require.Equal(t, "bytes 10-19/400000", early.Header.Get("Content-Range"))
	require.Equal(t, string(body[10:20]), string(early.Body))

	ranges := []string{"bytes=0-", "bytes=399000-", "bytes=100-300000", "bytes=0-99"}
	b := sendTogether(t, client, len(ranges), func(i int) *http.Request {
		return c.request(http.MethodGet, "/file", "Range: "+ranges[i])
	})
	several := sendTogether(t, client, 1, func(int) *http.Request {
		return c.request(http.MethodGet, "/file", "Range: bytes=390000-390009,0-9,200000-200009")
	})
	gate.Open()
	bounds := [][2]int{{0, size}, {399000, size}, {100, 300001}, {0, 100}}
	for i, got := range b.responses() {
		require.Equal(t, http.StatusPartialContent, got.Status)
		requireBody(t, body[bounds[i][0]:bounds[i][1]], got.Body)
	}
	requireParts(t, several.responses()[0], body, [2]int{390000, 390010}, [2]int{0, 10}, [2]int{200000, 200010})
	require.Equal(t, body, c.get("/file").Body)
	c.requireArrived("/file", 1)
	require.Empty(t, c.origin.Requests("/file")[0].Header.Get("Range"))
}

func TestRangeFarIntoAMissIsPassed(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/file", func(r *origin.Request) origin.Reply {
		require.Equal(t, "bytes=2000000-2000009", r.Header.Get("Range"))
		return origin.Reply{Status: 206, Headers: []string{minute, "Content-Range: bytes 2000000-2000009/9000000"}, Body: []byte("0123456789")}
	})
	for range 2 {
		got := c.get("/file", "Range: bytes=2000000-2000009")
		require.Equal(t, http.StatusPartialContent, got.Status)
		require.Equal(t, "0123456789", string(got.Body))
	}
	c.requireArrived("/file", 2)
	require.Zero(t, c.stats().Entries)
}

// The ranges go backwards in a response that is too large to be kept, so that
// what the second wants is gone when the first has been sent.
func TestRangesOfAResponseThatIsNotKept(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	body := origin.Pattern(size)
	for name, lines := range map[string][]string{
		"too large":   {minute},
		"not allowed": {"Cache-Control: no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCached(t, "max_object_size 100KiB")
			c.origin.HandleFunc("/file", func(r *origin.Request) origin.Reply {
				return origin.Reply{Headers: lines, Body: body}
			})
			for range 2 {
				got := c.get("/file", "Range: bytes=1000000-1000009")
				requireWholeOr(t, got, body, "bytes 1000000-1000009/3145728", 1000000, 1000010)
				got = c.get("/file", "Range: bytes=3000000-3000009")
				requireWholeOr(t, got, body, "bytes 3000000-3000009/3145728", 3000000, 3000010)
				got = c.get("/file", "Range: bytes=1000000-1000009,0-9")
				if got.Status == http.StatusPartialContent {
					requireParts(t, got, body, [2]int{1000000, 1000010}, [2]int{0, 10})
				} else {
					require.Equal(t, http.StatusOK, got.Status)
					requireBody(t, body, got.Body)
				}
			}
		})
	}
}

// requireWholeOr checks for the asked range, or for the whole body, which is
// always a correct answer to a range request (RFC 9110 section 14.2).
func requireWholeOr(t *testing.T, got *harness.Response, body []byte, contentRange string, from, to int) {
	t.Helper()
	if got.Status == http.StatusPartialContent {
		require.Equal(t, contentRange, got.Header.Get("Content-Range"))
		require.Equal(t, string(body[from:to]), string(got.Body))
		return
	}
	require.Equal(t, http.StatusOK, got.Status)
	requireBody(t, body, got.Body)
}
