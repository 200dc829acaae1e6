package edgetunnel

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// both is the config of an edge and of an agent in the same process.
func (e *edge) both(agentOptions, sites string) string {
	return strings.Replace(e.caddyfile(), "auto_https off", fmt.Sprintf(`auto_https off
	edge_agent {
		edge %s
		name here
		token home.%s
		%s
	}`, e.url(), secret, agentOptions), 1) + sites
}

// TestBoundSite serves a site of Caddy through the tunnel, without a listener.
func TestBoundSite(t *testing.T) {
	e := newEdge(t)
	site := func(text string) string {
		return "http://127.0.0.1 {\n\tbind edge_tunnel/app\n\trespond \"" + text + " {method} {uri} {remote_host} {http.request.body}\"\n}\n"
	}
	require.NoError(t, reloadtest.Load(t, adapt(t, e.both("", site("one")))))
	e.serving(1)
	require.Equal(t, "one GET /a?b 127.0.0.1 ", second(e.get("/a?b")))
	resp, err := client(t).Post(e.url()+"/", "text/plain", strings.NewReader("body"))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "one POST / 127.0.0.1 body", string(body))

	// A reload takes over, and the agent stays connected.
	since := peekHub().All()[0].Since
	require.NoError(t, reloadtest.Load(t, adapt(t, e.both("", site("two")))))
	require.Eventually(t, func() bool {
		_, body, err := e.try("/")
		return err == nil && body == "two GET / 127.0.0.1 "
	}, patience, time.Millisecond)
	require.Equal(t, since, peekHub().All()[0].Since)

	// Without the site there is no backend, but still the agent.
	require.NoError(t, reloadtest.Load(t, adapt(t, e.both("", ""))))
	e.serving(0)
	require.Equal(t, since, peekHub().All()[0].Since)
}

func second[A, B any](_ A, b B) B { return b }

// TestAgentApp has backends over HTTP, which change with the config.
func TestAgentApp(t *testing.T) {
	e := newEdge(t)
	one, two := serve(t, text("one")), serve(t, text("two"))
	require.NoError(t, reloadtest.Load(t, adapt(t, e.both("backend app "+one, ""))))
	e.serving(1)
	require.Equal(t, "one", second(e.get("/")))
	since := peekHub().All()[0].Since
	require.NoError(t, reloadtest.Load(t, adapt(t, e.both("backend app "+two+" {\nweight 3\n}", ""))))
	require.Eventually(t, func() bool {
		_, body, err := e.try("/")
		return err == nil && body == "two"
	}, patience, time.Millisecond)
	require.Equal(t, since, peekHub().All()[0].Since)
	require.Eventually(t, func() bool { return peekHub().All()[0].Backends()[0].Weight == 3 }, patience, time.Millisecond)

	// Other settings are another agent.
	require.NoError(t, reloadtest.Load(t, adapt(t, e.both("data_conns 1\nbackend app "+two, ""))))
	require.Eventually(t, func() bool {
		all := peekHub().All()
		return len(all) == 1 && all[0].Since.After(since) && all[0].Lanes() == 1
	}, patience, time.Millisecond)
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

// TestTokenFile changes the token of an agent that is connected: it takes the new one when
// it connects again.
func TestTokenFile(t *testing.T) {
	e := newEdge(t)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("home."+secret+"\n"), 0o600))
	options := func() string {
		return strings.Replace(e.both("backend app "+serve(t, text("one")), ""), "token home."+secret, "token_file "+file, 1)
	}
	require.NoError(t, reloadtest.Load(t, adapt(t, options())))
	e.serving(1)
	require.NoError(t, os.WriteFile(file, []byte("next.other"), 0o600))
	e.tunnel = "token next " + hashOf(t, "other") + " app"
	require.NoError(t, reloadtest.Load(t, adapt(t, options())))
	require.Eventually(t, func() bool {
		all := peekHub().All()
		return len(all) == 1 && all[0].Token == "next"
	}, patience, time.Millisecond)
	e.serving(1)
}
