package edgecache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// TestVaryOnWhatTheClientDoesNotSend: the proxy behind the cache tells the origin
// the client's address. A response that varies on that can't be selected by what
// the client sent, and goes to nobody else.
func TestVaryOnWhatTheClientDoesNotSend(t *testing.T) {
	tests := []struct {
		config, field string
		trusted       bool
		stored        bool
	}{
		{config: `{}`, field: "X-Forwarded-For"},
		{config: `{"request_headers": "key"}`, field: "X-Forwarded-For"},
		{config: `{"request_headers": "trust"}`, field: "X-Forwarded-For"},
		{config: `{"key": {"headers": ["X-Forwarded-For"]}}`, field: "X-Forwarded-For"},
		{config: `{}`, field: "X-Forwarded-For", trusted: true},
		{config: `{}`, field: "Via"},
		{config: `{}`, field: "Early-Data"},
		{config: `{}`, field: "X-Real-Ip"},
		{config: `{}`, field: "Cf-Connecting-Ip", trusted: true},
		{config: `{}`, field: "X_custom"},
		{config: `{}`, field: "X-Forwarded-Prefix"},
		{config: `{"key": {"ignore_scheme": true}}`, field: "X-Forwarded-Proto"},
		{config: `{"namespace": "n", "key": {"ignore_host": true}}`, field: "X-Forwarded-Host"},
		{config: `{"namespace": "n", "key": {"ignore_host": true}}`, field: "Host"},

		{config: `{}`, field: "X-Forwarded-Prefix", trusted: true, stored: true},
		{config: `{}`, field: "X-Forwarded-Proto", stored: true},
		{config: `{}`, field: "X-Forwarded-Host", stored: true},
		{config: `{}`, field: "Host", stored: true},
		{config: `{}`, field: "X-Device", stored: true},
		{config: `{}`, field: "Cookie", stored: true},
		{config: `{"request_headers": "key"}`, field: "X-Real-Ip", stored: true},
		{config: `{"request_headers": "trust"}`, field: "X-Real-Ip", stored: true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s in %s, trusted %t", tt.field, tt.config, tt.trusted), func(t *testing.T) {
			g, cleanup := newRig(t, tt.config, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("Vary", tt.field)
				_, _ = fmt.Fprint(w, "hello ", r.RemoteAddr)
			})
			defer cleanup()
			get := func(address string) got {
				r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
				r.RemoteAddr = address
				if !tt.trusted {
					return g.do(r)
				}
				rec := httptest.NewRecorder()
				r = prepared(rec, r)
				caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, true)
				require.NoError(t, g.ServeHTTP(rec, r, g.origin))
				return got{rec, false}
			}
			first := get("192.0.2.1:1")
			second := get("192.0.2.2:1")
			require.Equal(t, "hello 192.0.2.1:1", first.Body.String())
			if tt.stored {
				require.Equal(t, "edge; fwd=uri-miss; stored; ttl=60", first.cacheStatus())
				require.Equal(t, "edge; hit; ttl=60", second.cacheStatus())
				return
			}
			require.Equal(t, "edge; fwd=uri-miss; detail=vary-star", first.cacheStatus())
			require.Equal(t, "hello 192.0.2.2:1", second.Body.String())
		})
	}
}

// TestNominatingConnection: fields that Connection names are for the next hop only.
// Such a request passes: others may rely on what it would take from a shared fetch.
func TestNominatingConnection(t *testing.T) {
	for _, tt := range []struct {
		field, status string
	}{
		{"", "edge; hit; ttl=60"},
		{"close", "edge; hit; ttl=60"},
		{"Keep-Alive", "edge; hit; ttl=60"},
		{"TE, trailer", "edge; hit; ttl=60"},
		{"Upgrade, HTTP2-Settings", "edge; hit; ttl=60"},
		{"close,, ,keep-alive", "edge; hit; ttl=60"},
		{"X-Hop", "edge; fwd=bypass; detail=connection"},
		{"close, Cookie", "edge; fwd=bypass; detail=connection"},
		{"keep-alive\tX-Hop", "edge; fwd=bypass; detail=connection"},
		{"Cache-Control", "edge; fwd=bypass; detail=connection"},
	} {
		t.Run(tt.field, func(t *testing.T) {
			o := &numbered{fields: []string{"Cache-Control: max-age=60"}}
			g, cleanup := newRig(t, `{}`, o.ServeHTTP)
			defer cleanup()
			g.get("http://example.com/")
			require.Equal(t, tt.status, g.get("http://example.com/", "Connection: "+tt.field).cacheStatus())
			require.Equal(t, "1", g.get("http://example.com/").Body.String(), "what is stored stays")
		})
	}
}
