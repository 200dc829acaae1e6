package integration

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

func TestProxyOverEveryProtocol(t *testing.T) {
	o := origin.Start(t)
	o.Handle("/page", origin.Reply{
		Headers:  []string{"Content-Type: text/plain", "Trailer: X-Sum"},
		Body:     origin.Pattern(100_000),
		Framing:  origin.Chunked,
		Trailers: []string{"X-Sum: 7"},
		Interim:  []origin.Interim{{Status: http.StatusEarlyHints, Headers: []string{"Link: </a.css>; rel=preload"}}},
	})
	e := harness.Start(t, `
		{
			servers {
				protocols h1 h2 h2c h3
			}
		}
		{{http "plain"}}, {{https "secure"}} {
			reverse_proxy {{.origin}}
		}
	`, harness.Vars{"origin": o.Addr()})

	check := func(t *testing.T, p harness.Proto, site, wantProto string) {
		before := o.Stats("/page").Arrived
		got := e.Get(p, e.URL(site)+"/page?q=1")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, wantProto, got.Proto)
		require.Equal(t, origin.Pattern(100_000), got.Body)
		require.Equal(t, "7", got.Trailer.Get("X-Sum"))
		require.Len(t, got.Interim, 1)
		require.Equal(t, http.StatusEarlyHints, got.Interim[0].Status)
		require.Equal(t, "</a.css>; rel=preload", got.Interim[0].Header.Get("Link"))
		require.Equal(t, before+1, o.Stats("/page").Arrived)
	}
	t.Run("h1 plain", func(t *testing.T) { check(t, harness.H1, "plain", "HTTP/1.1") })
	t.Run("h2c", func(t *testing.T) { check(t, harness.H2C, "plain", "HTTP/2.0") })
	wantProto := map[harness.Proto]string{harness.H1: "HTTP/1.1", harness.H2: "HTTP/2.0", harness.H3: "HTTP/3.0"}
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) { check(t, p, "secure", wantProto[p]) })
}

func TestStopLetsARequestInProgressFinish(t *testing.T) {
	o := origin.Start(t)
	gate := origin.NewGate()
	o.Handle("/slow", origin.Reply{Body: []byte("whole"), HoldHeader: gate})
	e := harness.Start(t, `
		{{http "site"}} {
			reverse_proxy {{.origin}}
		}
	`, harness.Vars{"origin": o.Addr()})

	type outcome struct {
		got *harness.Response
		err error
	}
	done := make(chan outcome, 1)
	client := e.Client(harness.H1)
	req, err := harness.NewRequest(http.MethodGet, e.URL("site")+"/slow", "")
	require.NoError(t, err)
	go func() {
		got, err := harness.Send(client, req)
		done <- outcome{got, err}
	}()
	o.WaitArrived(t, "/slow", 1)

	// Goroutines of the request in progress are none of the leftover ones.
	e.Rebase()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.Stop()
	}()
	e.WaitLog(func(entry harness.Entry) bool { return entry["msg"] == "shutting down apps, then terminating" })
	gate.Open()

	result := <-done
	require.NoError(t, result.err)
	require.Equal(t, "whole", string(result.got.Body))
	<-stopped
}

func TestReload(t *testing.T) {
	const answer = `
		{{http "site"}} {
			respond "{{.word}}"
		}
	`
	e := harness.Start(t, answer, harness.Vars{"word": "first"})
	require.Equal(t, "first", string(e.Get(harness.H1, e.URL("site")).Body))

	require.NoError(t, e.Reload(answer, harness.Vars{"word": "second"}))
	require.Equal(t, "second", string(e.Get(harness.H1, e.URL("site")).Body))

	err := e.Reload(`
		{{http "site"}} {
			no_such_directive
		}
	`)
	require.ErrorContains(t, err, "no_such_directive")
	require.Equal(t, "second", string(e.Get(harness.H1, e.URL("site")).Body))
}
