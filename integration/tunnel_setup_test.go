package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// tunnelSite is one site over TLS whose backend comes through the tunnel.
const tunnelSite = `
	{
		{{.global}}
	}
	{{https "site"}} {
		{{.front}}
		edge_tunnel {
			{{.token}}
			heartbeat 500ms
		}
		{{.behind}}
		reverse_proxy {
			dynamic edge_tunnel app
			transport edge_tunnel
			lb_retries 5
			lb_try_interval 20ms
			{{.proxy}}
		}
	}
`

// tunnelEdge is an edge that agents connect to.
type tunnelEdge struct {
	*harness.Edge
	t         *testing.T
	token, ca string // files
	vars      harness.Vars
}

// startTunnel starts a tunnelSite.
func startTunnel(t *testing.T, vars harness.Vars) *tunnelEdge {
	t.Helper()
	return startTunnelFile(t, tunnelSite, vars)
}

// startTunnelFile starts a Caddyfile with the token of its agents in {{.token}}.
func startTunnelFile(t *testing.T, caddyfile string, vars harness.Vars) *tunnelEdge {
	t.Helper()
	made := harness.Run(t, "edge", "tunnel", "token", "home", "--backend", "app")
	require.Zero(t, made.ExitCode, made.Stderr)
	line := strings.Split(made.Stderr, "\n")[1]
	if vars == nil {
		vars = harness.Vars{}
	}
	vars["token"] = strings.TrimSpace(line)
	for _, name := range []string{"global", "front", "behind", "proxy"} {
		if vars[name] == nil {
			vars[name] = ""
		}
	}
	e := &tunnelEdge{Edge: harness.Start(t, caddyfile, vars), t: t, vars: vars}
	dir := t.TempDir()
	e.token, e.ca = filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(e.token, []byte(made.Stdout), 0o600))
	if !strings.HasPrefix(e.URL("site"), "https:") {
		e.ca = ""
		return e
	}
	_, body := e.Admin(http.MethodGet, "/pki/ca/local", nil)
	var authority struct {
		Root string `json:"root_certificate"`
	}
	require.NoError(t, json.Unmarshal(body, &authority))
	require.NoError(t, os.WriteFile(e.ca, []byte(authority.Root), 0o600))
	return e
}

// agent connects an agent for an origin, and waits until it serves.
func (e *tunnelEdge) agent(name string, o *origin.Origin, flags ...string) *harness.Command {
	e.t.Helper()
	before := len(e.serving())
	if e.ca != "" {
		flags = append(flags, "--ca", e.ca)
	}
	c := harness.StartCommand(e.t, append([]string{
		"edge", "agent", "--edge", e.URL("site"), "--token-file", e.token, "--name", name, "--backend", "app", "--to", o.Addr(),
	}, flags...)...)
	e.await(before + 1)
	return c
}

// serving are the names of the agents that take requests.
func (e *tunnelEdge) serving() (names []string) {
	e.t.Helper()
	_, body := e.Admin(http.MethodGet, "/edge/tunnel/backends", nil)
	var reply struct {
		Backends []struct {
			Agent   string `json:"agent"`
			Serving bool   `json:"serving"`
		} `json:"backends"`
	}
	require.NoError(e.t, json.Unmarshal(body, &reply))
	for _, b := range reply.Backends {
		if b.Serving {
			names = append(names, b.Agent)
		}
	}
	return names
}

// await waits until as many agents serve.
func (e *tunnelEdge) await(n int) {
	e.t.Helper()
	require.Eventually(e.t, func() bool { return len(e.serving()) == n }, 2*limit, 20*time.Millisecond)
}
