package edgewaf

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/standard"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/api"
	"github.com/caddyedge/caddy-edge/internal/mmdbtest"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// ask calls an admin route and decodes its reply.
func ask(t *testing.T, method, path, body string, to any) error {
	t.Helper()
	w := httptest.NewRecorder()
	route, _, _ := strings.Cut(path, "?")
	err := api.Handler(route).ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if err == nil && to != nil {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), to))
	}
	return err
}

// TestReload: what an operator set, what was counted and what was read of files go over
// from config A past a rejected B to C.
func TestReload(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer occupied.Close()
	list := file(t, "list.txt", []byte("192.0.2.1\n"))
	load := func(mode Mode, handlers, servers string) error {
		return reloadtest.Load(t, fmt.Sprintf(`{"apps": {"http": {"servers": {"a": {
			"listen": ["127.0.0.1:0"], "automatic_https": {"disable": true},
			"routes": [{"handle": [{"handler": "edge_guard", "name": "operated", "checks": {"h2c": %q}, "deny": {"files": [%q]}, "refresh": "1h"}%s]}]
		}%s}}}}`, mode, list, handlers, servers))
	}
	running := func() *Guard {
		t.Helper()
		g, err := guardOfName("operated")
		require.NoError(t, err)
		return g
	}
	set := func(mode string) {
		t.Helper()
		var reply struct{ Mode string }
		require.NoError(t, ask(t, http.MethodPost, "/edge/guard/mode", `{"guard": "operated", "check": "h2c", "mode": "`+mode+`"}`, &reply))
	}
	requireMode := func(want Mode) {
		t.Helper()
		require.Equal(t, string(want), running().effective(checkH2C).String())
	}
	require.NoError(t, load(ModeEnforce, "", ""))
	state, watching := running().state, watched()
	require.Len(t, watching, 1)
	state.count(checkH2C, actionRefused)
	set("shadow")
	requireMode(ModeShadow)
	for _, rejected := range [][2]string{
		{`, {"handler": "edge_guard", "name": "bad", "max_fields": -1}`, ""},                                   // while it is provisioned
		{`, {"handler": "edge_guard", "name": "bad", "deny": {"files": ["` + t.TempDir() + `/missing"]}}`, ""}, // by a list
		{"", `, "b": {"listen": ["` + occupied.Addr().String() + `"]}`},                                        // while it starts
	} {
		for range 5 { // apps start in no particular order
			require.Error(t, load(ModeOff, rejected[0], rejected[1]))
			requireMode(ModeShadow)
			require.Same(t, state, running().state)
			require.Equal(t, watching, watched())
			require.Len(t, runningGuards(), 1)
		}
	}
	require.NoError(t, load(ModeEnforce, "", ""))
	requireMode(ModeShadow)
	require.Same(t, state, running().state)
	require.Same(t, watching[0], watched()[0])
	require.Equal(t, uint64(1), running().state.counts[checkH2C][actionRefused].Load())
	require.NoError(t, load(ModeOff, "", ""))
	requireMode(ModeOff)
	require.NoError(t, load(ModeEnforce, "", ""))
	requireMode(ModeEnforce) // the config had its say
	set("off")
	requireMode(ModeOff)
	set("")
	requireMode(ModeEnforce)

	// A list that has changed is read by the reload.
	require.NoError(t, os.WriteFile(list, []byte("192.0.2.1\n192.0.2.2\n"), 0o600))
	require.NoError(t, load(ModeEnforce, "", ""))
	require.Equal(t, 2, watched()[0].entries())
	// A broken one rejects it, and what was read stays in force.
	require.NoError(t, os.WriteFile(list, []byte("192.0.2.1\n192.0.2.x\n"), 0o600))
	require.ErrorContains(t, load(ModeEnforce, "", ""), list+": line 2: invalid address")
	require.Equal(t, 2, watched()[0].entries())

	reloadtest.Stop(t)
	require.Empty(t, watched())
	_, err = guardOfName("operated")
	require.Error(t, err)
}

func TestGuardsOfOneNameAreDefinedAlike(t *testing.T) {
	err := reloadtest.Load(t, `{"apps": {"http": {"servers": {"a": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [
		{"handler": "edge_guard"}, {"handler": "edge_guard", "max_uri": 100}]}]}}}}}`)
	require.ErrorContains(t, err, "edge_guard: default: defined twice")
}

// TestWatch has a file looked at on its goroutine, by a clock of its own.
func TestWatch(t *testing.T) {
	path := file(t, "list.txt", []byte("192.0.2.1\n"))
	synctest.Test(t, func(t *testing.T) {
		ref, err := takeWatch(kindList, path, time.Minute)
		require.NoError(t, err)
		w := ref.Value()
		require.Equal(t, 1, w.entries())
		replace(t, path, "192.0.2.1\n192.0.2.2\n")
		synctest.Wait()
		require.Equal(t, 1, w.entries())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 2, w.entries())
		replace(t, path, "nonsense\n")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 2, w.entries())
		require.ErrorContains(t, w.status().Err, "line 1")
		require.NoError(t, ref.Release())
	})
	require.Empty(t, watched())
}

// replace puts a file in the place of another, as one should.
func replace(t *testing.T, path, content string) {
	t.Helper()
	next := filepath.Join(filepath.Dir(path), "next")
	require.NoError(t, os.WriteFile(next, []byte(content), 0o600))
	require.NoError(t, os.Rename(next, path))
}

func TestAdmin(t *testing.T) {
	list := file(t, "list.txt", []byte("192.0.2.0/24\n"))
	country := file(t, "country.mmdb", mmdbtest.Build("Test-Country", mmdbtest.Networks{"203.0.113.0/24": mmdbtest.Country("DE")}))
	require.NoError(t, reloadtest.Load(t, fmt.Sprintf(`{"apps": {"http": {"servers": {"a": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [
		{"handler": "edge_guard", "deny": {"files": [%q], "countries": ["DE"]}, "country_database": %q, "allow": {"addresses": ["192.0.2.7"]}},
		{"handler": "edge_guard", "name": "open"}]}]}}}}}`, list, country)))

	var guards struct{ Guards []guardReply }
	require.NoError(t, ask(t, http.MethodGet, "/edge/guard/checks", "", &guards))
	require.Len(t, guards.Guards, 2)
	require.Len(t, guards.Guards[0].Checks, checks)
	require.Equal(t, checkReply{ID: "path_parameter", Mode: "shadow", Configured: "shadow"}, guards.Guards[0].Checks[checkPathParameter])

	var lists struct{ Lists []listReply }
	require.NoError(t, ask(t, http.MethodGet, "/edge/guard/lists", "", &lists))
	require.Len(t, lists.Lists, 2)
	for _, l := range lists.Lists {
		require.NotZero(t, l.Entries)
		require.NotZero(t, l.Bytes)
		require.False(t, l.Loaded.IsZero())
		require.InDelta(t, 10, l.Refresh, 0)
		require.Empty(t, l.Error)
	}

	for query, want := range map[string]lookupReply{
		"address=192.0.2.7":              {Guard: "default", Address: "192.0.2.7", Allowed: true, By: "allow", List: "addresses", Entry: "192.0.2.7"},
		"address=::ffff:192.0.2.8":       {Guard: "default", Address: "192.0.2.8", By: "deny", List: "file", File: list, Entry: "192.0.2.0-192.0.2.255"},
		"address=203.0.113.1":            {Guard: "default", Address: "203.0.113.1", By: "deny", List: "country", Entry: "DE", Country: "DE"},
		"address=2001:db8::1":            {Guard: "default", Address: "2001:db8::1", Allowed: true, By: "otherwise"},
		"address=203.0.113.1&guard=open": {Guard: "open", Address: "203.0.113.1", Allowed: true, By: "otherwise"},
	} {
		var got lookupReply
		require.NoError(t, ask(t, http.MethodGet, "/edge/guard/lookup?"+query, "", &got))
		require.Equal(t, want, got, query)
	}
	for _, test := range []struct{ method, path, body, err string }{
		{http.MethodGet, "/edge/guard/lookup?address=x", "", `address: invalid value "x"`},
		{http.MethodGet, "/edge/guard/lookup?address=::1&guard=x", "", `guard: there is none named "x"`},
		{http.MethodPost, "/edge/guard/mode", `{"check": "h3c", "mode": "off"}`, `check: unknown check "h3c"`},
		{http.MethodPost, "/edge/guard/mode", `{"check": "h2c", "mode": "on"}`, `mode: unknown mode "on"`},
		{http.MethodPost, "/edge/guard/mode", `{"check": "h2c"}`, "mode: want enforce, shadow or off"},
		{http.MethodPost, "/edge/guard/mode", `{"guard": "x", "check": "h2c", "mode": "off"}`, `guard: there is none named "x"`},
	} {
		require.ErrorContains(t, ask(t, test.method, test.path, test.body, nil), test.err)
	}
	var mode struct{ Guard, Check, Mode string }
	require.NoError(t, ask(t, http.MethodPost, "/edge/guard/mode", `{"guard": "open", "check": "method", "mode": "off"}`, &mode))
	require.Equal(t, "off", mode.Mode)
	g, err := guardOfName("open")
	require.NoError(t, err)
	require.Equal(t, levelOff, g.effective(checkMethod))
	other, err := guardOfName("")
	require.NoError(t, err)
	require.Equal(t, levelEnforce, other.effective(checkMethod))
}
