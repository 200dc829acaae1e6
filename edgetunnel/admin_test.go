package edgetunnel

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/api"
)

// ask calls an admin route and returns its status and reply.
func ask(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	err := api.Handler(path).ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if err != nil {
		var refused caddy.APIError
		require.ErrorAs(t, err, &refused)
		return refused.HTTPStatus, map[string]any{"error": refused.Err.Error()}
	}
	var reply map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &reply))
	return w.Code, reply
}

func TestAdmin(t *testing.T) {
	_, reply := ask(t, "GET", "/edge/tunnel/agents", "")
	require.Equal(t, map[string]any{"agents": []any{}, "held": []any{}, "revoked": []any{}}, reply)
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(echo))
	e.serving(1)
	require.Equal(t, 200, first(e.get("/")))
	require.Eventually(t, func() bool { return peekHub().All()[0].RTT() > 0 }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return peekHub().All()[0].Active() == 0 }, patience, time.Millisecond)
	_, reply = ask(t, "GET", "/edge/tunnel/agents", "")
	agent := reply["agents"].([]any)[0].(map[string]any)
	for _, key := range []string{"remote", "since", "rtt_ms", "bytes_in", "bytes_out"} {
		require.NotZero(t, agent[key], key)
		delete(agent, key)
	}
	backend := map[string]any{"backend": "app", "address": "edge_tunnel/a.app:1", "weight": 1., "healthy": true, "serving": true, "streams": 0., "load": 0., "requests": 1.}
	require.Equal(t, map[string]any{
		"agent": "a", "token": "home", "handler": "default", "version": "1.0.0", "streams": 0., "requests": 1., "data_conns": 0.,
		"window_bytes": 0., "draining": false, "backends": []any{backend},
	}, agent)
	_, reply = ask(t, "GET", "/edge/tunnel/backends", "")
	backend["agent"] = "a"
	require.Equal(t, map[string]any{"backends": []any{backend}}, reply)

	for _, bad := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"drain", `{}`, 400, "agent: is missing"},
		{"drain", `{"agent":"x"}`, 404, `agent: there is no such agent "x"`},
		{"drain", `{"agent":"a","timeout":"x"}`, 400, `timeout: invalid duration "x"`},
		{"drain", `{"agent":"a","timeout":"2h"}`, 400, `timeout: invalid duration "2h"`},
		{"revoke", `{"agent":"a"}`, 400, "token: is missing"},
		{"revoke", `{"other":"a"}`, 400, "unknown field"},
	} {
		status, reply := ask(t, "POST", "/edge/tunnel/"+bad.path, bad.body)
		require.Equal(t, bad.status, status)
		require.Contains(t, reply["error"], bad.want)
	}
	_, reply = ask(t, "POST", "/edge/tunnel/drain", `{"agent":"a","timeout":"1s"}`)
	require.Equal(t, map[string]any{"changed": true}, reply)
	require.Eventually(t, func() bool { return len(peekHub().All()) == 0 }, patience, time.Millisecond)
	_, reply = ask(t, "POST", "/edge/tunnel/resume", `{"agent":"a"}`)
	require.Equal(t, map[string]any{"changed": true}, reply)
	s := e.session(mux.Config{}, wire.HeaderAgent+": b")
	_, reply = ask(t, "POST", "/edge/tunnel/revoke", `{"token":"home"}`)
	require.Equal(t, map[string]any{"changed": true, "closed": 1.}, reply)
	<-s.Done()
	_, reply = ask(t, "GET", "/edge/tunnel/agents", "")
	require.Equal(t, []any{"home"}, reply["revoked"])
	_, reply = ask(t, "POST", "/edge/tunnel/allow", `{"token":"home"}`)
	require.Equal(t, map[string]any{"changed": true}, reply)
	_, reply = ask(t, "POST", "/edge/tunnel/allow", `{"token":"home"}`)
	require.Equal(t, map[string]any{"changed": false}, reply)
}
