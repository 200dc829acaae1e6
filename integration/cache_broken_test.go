package integration

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// A body that broke off is passed on as one, to the first client and to those
// that joined, and nothing of it is stored.
func TestBrokenBodyIsVisibleAndNeverStored(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	const size = 300_000
	body := origin.Pattern(size)
	for name, reply := range map[string]origin.Reply{
		"length, cut":           {Headers: []string{"Content-Length: 500000"}, Ending: origin.Cut},
		"length, reset":         {Headers: []string{"Content-Length: 500000"}, Ending: origin.Reset},
		"one byte short":        {Headers: []string{fmt.Sprintf("Content-Length: %d", size+1)}, Ending: origin.Cut},
		"chunked, cut":          {Framing: origin.Chunked, Ending: origin.Cut},
		"chunked, reset":        {Framing: origin.Chunked, Ending: origin.Reset},
		"close, reset":          {Framing: origin.UntilClose, Ending: origin.Reset},
		"length, event later":   {Headers: []string{"Content-Length: 500000", "Vary: X-Kind"}, Ending: origin.Cut},
		"length, error, cut":    {Status: 404, Headers: []string{"Content-Length: 500000"}, Ending: origin.Cut},
		"with validators, cut":  {Headers: []string{"Content-Length: 500000", `ETag: "1"`}, Ending: origin.Cut},
		"with stale allow, cut": {Headers: []string{"Content-Length: 500000", "Cache-Control: stale-if-error=60"}, Ending: origin.Cut},
	} {
		for _, proto := range []harness.Proto{harness.H1, harness.H2C} {
			t.Run(name+" "+string(proto), func(t *testing.T) {
				c := c.in(t)
				path := "/" + string(proto) + "/" + harnessPath(name)
				gate := origin.NewGate()
				reply := reply
				reply.Headers = append([]string{minute}, reply.Headers...)
				reply.Body, reply.ChunkSize, reply.HoldChunk = body, size/3, gate
				c.origin.Handle(path, reply)
				client := c.Client(proto)

				gate.Step(1)
				leader, _ := open(t, client, c.request(http.MethodGet, path))
				readN(t, leader.Body, 1000)
				joiner, _ := open(t, client, c.request(http.MethodGet, path))
				readN(t, joiner.Body, 1000)
				gate.Open()
				for _, resp := range []*http.Response{leader, joiner} {
					_, err := io.Copy(io.Discard, resp.Body)
					require.Error(t, err)
				}

				c.origin.Handle(path, text("whole", minute))
				got, err := harness.Send(client, c.request(http.MethodGet, path))
				require.NoError(t, err)
				require.Equal(t, "whole", string(got.Body))
				require.Equal(t, 2, c.origin.Stats(path).Arrived)
			})
		}
	}
}

// harnessPath makes a path segment of the name of a case.
func harnessPath(name string) string {
	b := []byte(name)
	for i, ch := range b {
		if ch == ' ' || ch == ',' {
			b[i] = '-'
		}
	}
	return string(b)
}

// Responses that are no HTTP, or contradict themselves, become 502 and are not
// stored.
func TestBrokenHeaderBecomes502(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	const start = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
	for name, raw := range map[string]string{
		"empty":                  "",
		"cut in the status line": "HTTP/1.1 2",
		"cut in the header":      start + "X-Half: ye",
		"no colon":               start + "nonsense\r\n\r\nbody",
		"length not a number":    start + "Content-Length: abc\r\n\r\nbody",
		"length negative":        start + "Content-Length: -1\r\n\r\nbody",
		"length with plus":       start + "Content-Length: +4\r\n\r\nbody",
		"two lengths":            start + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!",
		"list of lengths":        start + "Content-Length: 4, 5\r\n\r\nbody!",
		"unknown coding":         start + "Transfer-Encoding: rot13\r\n\r\nbody",
		"status not a number":    "HTTP/1.1 abc OK\r\n\r\n",
		"not HTTP":               "SSH-2.0-OpenSSH\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			path := "/" + harnessPath(name)
			c.origin.Handle(path, origin.Reply{Raw: []byte(raw)})
			require.Equal(t, http.StatusBadGateway, c.get(path).Status)
			c.origin.Handle(path, text("whole", minute))
			got := c.get(path)
			require.Equal(t, "whole", string(got.Body))
			require.Contains(t, cacheStatus(got), "fwd=uri-miss; stored")
		})
	}
}

// What follows the announced length belongs to nobody.
func TestBytesAfterTheAnnouncedLengthReachNobody(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/long", origin.Sequence(origin.Reply{
		Headers: []string{minute, "Content-Length: 4"}, Ending: origin.Cut,
		Body: []byte("bodyHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil"),
	}))
	c.origin.HandleFunc("/next", numbered(minute))
	for range 2 {
		require.Equal(t, "body", string(c.get("/long").Body))
		require.Equal(t, "answer 1", string(c.get("/next").Body))
	}
	for i := range 20 {
		require.NotContains(t, string(c.get(fmt.Sprintf("/other/%d", i)).Body), "evil")
	}
}

func TestUnsolicited304(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", origin.Sequence(
		origin.Reply{Status: 304, Headers: []string{minute, `ETag: "1"`}},
		text("whole", minute),
	))
	require.Equal(t, http.StatusBadGateway, c.get("/page").Status)
	require.Equal(t, "whole", string(c.get("/page").Body))
	require.Equal(t, "whole", string(c.get("/page").Body))
	c.requireArrived("/page", 2)
}

func Test304AboutAnotherResponse(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.HandleFunc("/page", func(r *origin.Request) origin.Reply {
		switch {
		case r.N == 1:
			return text("old", "Cache-Control: no-cache", `ETag: "1"`)
		case r.Header.Get("If-None-Match") != "":
			return origin.Reply{Status: 304, Headers: []string{`ETag: "2"`}}
		}
		return text("new", minute, `ETag: "2"`)
	})
	require.Equal(t, "old", string(c.get("/page").Body))
	got := c.get("/page")
	require.Equal(t, http.StatusOK, got.Status)
	require.Equal(t, "new", string(got.Body))
	require.Equal(t, "new", string(c.get("/page").Body))
	c.requireArrived("/page", 3)
}

func TestHTTP10Origin(t *testing.T) {
	t.Parallel()
	c := startCached(t, "")
	c.origin.Handle("/page", origin.Reply{Raw: []byte("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\n\r\nold style")})
	for range 2 {
		require.Equal(t, "old style", string(c.get("/page").Body))
	}
	c.requireArrived("/page", 1)
	require.Equal(t, "9", c.get("/page").Header.Get("Content-Length"))
}
