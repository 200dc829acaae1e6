package integration

import (
	"bufio"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

func TestWebSocketMovesToTheStreams(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, single+"\nstreams 2")
	c.echo("/socket")
	first := c.socket("/socket")
	s := c.adaptive()
	require.Equal(t, []int{0, 1}, []int{s.InFlight, s.Streams})
	c.requireSlot()
	second := c.socket("/socket")
	refused, _, err := c.raw("GET /socket HTTP/1.1\r\nHost: SITE\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, refused.StatusCode)
	require.Equal(t, 1, c.adaptive().Refused["streams_full"])
	require.NoError(t, first.Close())
	require.NoError(t, second.Close())
	poll(t, "the streams have ended", func() bool { return c.adaptive().Streams == 0 })
	c.requireSlot()
}

func TestServerSentEventsMoveToTheStreams(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, single)
	for _, p := range []harness.Proto{harness.H1, harness.H2C} {
		t.Run(string(p), func(t *testing.T) {
			c := c.in(t)
			path := "/events/" + string(p)
			gate := origin.NewGate()
			c.origin.Handle(path, origin.Reply{
				Headers: []string{"Content-Type: text/event-stream; charset=utf-8"}, Framing: origin.Chunked,
				Body: []byte("data: 1\n\ndata: 2\n\n"), ChunkSize: 9, HoldChunk: gate,
			})
			gate.Step(1)
			resp, leave := open(t, c.Client(p), c.request(http.MethodGet, path))
			require.Equal(t, "data: 1\n\n", readN(t, resp.Body, 9))
			s := c.adaptive()
			require.Equal(t, []int{0, 1}, []int{s.InFlight, s.Streams})
			c.requireSlot()
			leave()
			poll(t, "the stream has ended", func() bool { return c.adaptive().Streams == 0 })
		})
	}
}

func TestSlowUploadMovesToTheUploads(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, single)
	send, done := c.upload("/upload")
	poll(t, "the upload gave its slot back", func() bool {
		s := c.adaptive()
		return s.Uploads == 1 && s.InFlight == 0
	})
	c.requireSlot()
	require.Zero(t, c.origin.Stats("/upload").Arrived)

	_, err := io.WriteString(send, "second half")
	require.NoError(t, err)
	require.NoError(t, send.Close())
	result := <-done
	require.NoError(t, result.err)
	require.Equal(t, http.StatusOK, result.got.Status)
	require.Equal(t, "first half, second half", string(c.origin.Requests("/upload")[0].Body))
	c.requireSlot()
	require.Zero(t, c.adaptive().Uploads)
}

// TestARequestWithoutABodyIsNoUpload has requests hold their slot for longer than
// uploads do. In HTTP/3 the length of an empty body is unknown.
func TestARequestWithoutABodyIsNoUpload(t *testing.T) {
	t.Parallel()
	c := startLimitedFile(t, `
		{{https "secure"}}, {{http "site"}} {
			edge_adaptive {
				name    default
				min     1
				max     2
				initial 2
				p95     30s
				fair_share off
			}
			reverse_proxy {{.origin}}
		}
	`, nil)
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		c := c.in(t)
		c.awaitSlots()
		path := "/held/" + string(p)
		gate := origin.NewGate()
		t.Cleanup(gate.Open)
		c.origin.Handle(path, origin.Reply{HoldHeader: gate})
		req, err := harness.NewRequest(http.MethodGet, c.URL("secure")+path, "")
		require.NoError(t, err)
		held := sendTogether(t, c.Client(p), 1, func(int) *http.Request { return req })
		c.origin.WaitArrived(t, path, 1)

		// An upload that comes later tells when the time is over.
		send, done := c.upload("/upload")
		poll(t, "something is an upload", func() bool { return c.adaptive().Uploads > 0 })
		require.NoError(t, send.Close())
		result := <-done
		require.NoError(t, result.err)
		poll(t, "the upload has ended", func() bool {
			s := c.adaptive()
			return s.InFlight+s.Uploads == 1
		})
		s := c.adaptive()
		require.Equal(t, []int{1, 0}, []int{s.InFlight, s.Uploads}, "in flight and uploads")
		gate.Open()
		held.responses()
	})
}

// upload starts a POST request whose body is what is written to send.
func (c *cachedEdge) upload(path string) (send *io.PipeWriter, done <-chan outcome) {
	c.t.Helper()
	body, send := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, c.URL("site")+path, body)
	require.NoError(c.t, err)
	ended := make(chan outcome, 1)
	client := c.Client(harness.H1)
	go func() {
		got, err := harness.Send(client, req)
		ended <- outcome{got, err}
	}()
	_, err = io.WriteString(send, "first half, ")
	require.NoError(c.t, err)
	return send, ended
}

// raise sends requests until the limit has grown.
func (c *cachedEdge) raise() {
	c.t.Helper()
	before := c.adaptive().Limit
	poll(c.t, "the limit grows", func() bool {
		for range 20 {
			require.Equal(c.t, http.StatusOK, c.get("/page").Status)
		}
		return c.adaptive().Limit > before
	})
}

const growing = `
	min     1
	max     100
	initial 1
	p95     30s
`

func TestALivingOriginRaisesTheLimitAndADeadOneDoesNot(t *testing.T) {
	t.Parallel()
	c := startLimited(t, `
		edge_adaptive {
			`+growing+`
		}
		reverse_proxy /dead 127.0.0.1:1
	`)
	c.raise()
	before := c.adaptive()
	for range 200 {
		require.Equal(t, http.StatusBadGateway, c.get("/dead").Status)
	}
	after := c.adaptive()
	require.InDelta(t, before.Limit, after.Limit, 0)
	require.Equal(t, before.Admitted+200, after.Admitted)
	require.Equal(t, before.Refused, after.Refused)
	require.InDelta(t, before.P95, after.P95, 0, "no sample, no window")
}

func TestTimeoutsLowerTheLimit(t *testing.T) {
	t.Parallel()
	c := startLimitedFile(t, `
		{{http "site"}} {
			edge_adaptive {
				min     1
				max     100
				initial 50
			}
			reverse_proxy {{.origin}} {
				transport http {
					response_header_timeout 10ms
				}
			}
		}
	`, nil)
	c.origin.Handle("/hangs", origin.Reply{HoldHeader: origin.NewGate()})
	poll(t, "the limit falls", func() bool {
		for range 20 {
			require.Equal(t, http.StatusGatewayTimeout, c.get("/hangs").Status)
		}
		return c.adaptive().Limit < 50
	})
	c.WaitLog(func(e harness.Entry) bool {
		return e["msg"] == "adaptive limit" && e["name"] == "default" && e["from"] == "normal" && e["to"] == "reducing"
	})
}

func TestUpgradeThatIsRefusedByTheOriginIsNoStream(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, single)
	c.origin.Handle("/socket", text("no"))
	resp, body, err := c.raw("GET /socket HTTP/1.1\r\nHost: SITE\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "no", body)
	c.requireSlot()
	require.Zero(t, c.adaptive().Streams)
}

func TestHalfARequestHoldsNoSlot(t *testing.T) {
	t.Parallel()
	c := startAdaptive(t, single)
	// The header of a request whose body never comes, and which then ends.
	conn := c.Dial("site")
	_, err := io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: "+c.host()+"\r\nContent-Length: 100\r\n\r\n")
	require.NoError(t, err)
	poll(t, "it counts as an upload", func() bool { return c.adaptive().Uploads == 1 })
	c.requireSlot()
	require.NoError(t, conn.Close())
	poll(t, "it is over", func() bool { return c.adaptive().Uploads == 0 })
	c.requireSlot()

	// An empty body is none.
	empty := c.Dial("site")
	_, err = io.WriteString(empty, "POST /page HTTP/1.1\r\nHost: "+c.host()+"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(empty), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
	c.requireSlot()
}
