package edgetunnel

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// TestIdentity tells the backend who the user is, whatever clients send.
func TestIdentity(t *testing.T) {
	e := newEdge(t)
	e.before = "vars user {query.user}"
	config := strings.Replace(e.caddyfile(), "transport edge_tunnel", "transport edge_tunnel {\nforward_user X-User {vars.user}\nstrip_credentials\n}", 1)
	require.NoError(t, load(t, config))
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s%s%s", r.Header["X-User"], r.Header["Cookie"], r.Header["Authorization"])
	}))
	e.serving(1)
	for query, want := range map[string]string{"?user=bob": "[bob][][]", "": "[][][]", "?user=a%0Ab": "[][][]"} {
		resp, err := client(t).Do(request(t, "GET", e.url()+"/"+query, nil, "X-User: root", "Cookie: a=b", "Authorization: Bearer x"))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, string(body), query)
	}
}

// TestTimeouts has backends that are late.
func TestTimeouts(t *testing.T) {
	e := newEdge(t)
	config := strings.Replace(e.caddyfile(), "transport edge_tunnel", "transport edge_tunnel {\nresponse_header_timeout 100ms\n}", 1)
	require.NoError(t, load(t, config))
	e.connect("a", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	e.serving(1)
	require.Equal(t, 504, first(e.get("/header")))
	resp, err := client(t).Post(e.url()+"/header", "text/plain", strings.NewReader("x"))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 504, resp.StatusCode)
}

// TestAttemptsWaitTogether gives a request its wait once, however often it is tried.
func TestAttemptsWaitTogether(t *testing.T) {
	r := request(t, "GET", "http://example.com/", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{}))
	u := &Upstreams{Wait: caddy.Duration(time.Minute)}
	until := u.until(r)
	require.WithinDuration(t, time.Now().Add(time.Minute), until, patience)
	require.Equal(t, until, u.until(r))
}

// TestBackendByPlaceholder has a backend for each tenant.
func TestBackendByPlaceholder(t *testing.T) {
	e := newEdge(t)
	config := strings.Replace(e.caddyfile(), "dynamic edge_tunnel app", "dynamic edge_tunnel {header.X-Tenant}", 1)
	require.NoError(t, load(t, config))
	var asked atomic.Int64
	e.connect("a", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	e.serving(1)
	for tenant, want := range map[string]int{"app": 200, "APP": 200, "api": 503, "": 503, "-": 503, "a.app": 503, "app:1": 503, "../app": 503} {
		resp, err := client(t).Do(request(t, "GET", e.url()+"/", nil, "X-Tenant: "+tenant))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, tenant)
	}
	require.Equal(t, int64(2), asked.Load())
}
