package edgecache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// TestPurgeOfSharedURL: operators purge by any of the URLs that share a response.
func TestPurgeOfSharedURL(t *testing.T) {
	long := "/" + strings.Repeat("x", 2*maxTagLength)
	for _, tt := range []struct {
		name, config, stored, purged string
		want                         int
	}{
		{"the first URL", `{"namespace": "n", "key": {"ignore_host": true}}`, "http://a.example/x", "http://a.example/x", 1},
		{"another host", `{"namespace": "n", "key": {"ignore_host": true}}`, "http://a.example/x", "http://b.example/x", 1},
		{"another host, long", `{"namespace": "n", "key": {"ignore_host": true}}`, "http://a.example" + long, "b.example" + long, 1},
		{"another host, another path", `{"namespace": "n", "key": {"ignore_host": true}}`, "http://a.example/x", "http://b.example/y", 0},
		{"another scheme", `{"key": {"ignore_scheme": true}}`, "http://a.example/x?y", "https://A.example:443/x?y#z", 1},
		{"another query", `{"key": {"ignore_scheme": true}}`, "http://a.example/x?y", "https://a.example/x", 0},
		{"nothing is ignored", `{}`, "http://a.example/x", "https://a.example/x", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			g, cleanup := newRig(t, tt.config, answering(&n, 200, "x", "Cache-Control: max-age=60"))
			defer cleanup()
			g.getAsSent(tt.stored)
			ps, err := (&PurgeRequest{URL: tt.purged}).purges()
			require.NoError(t, err)
			require.Equal(t, tt.want, g.shared.operatorPurge(ps))
			g.getAsSent(tt.stored)
			require.Equal(t, 1+tt.want, n)
		})
	}
}

// getAsSent asks with the request target as it comes from the network.
func (g *rig) getAsSent(url string) got {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	r.RequestURI = r.URL.RequestURI()
	return g.do(r)
}

// TestPurgeNamesTheDefaultPort: a host with its default port is the host.
func TestPurgeNamesTheDefaultPort(t *testing.T) {
	for _, tt := range []struct {
		kind  purge.Kind
		value string
		want  int
	}{
		{purge.Host, "example.com:443", 2}, {purge.Host, "example.com:80", 1},
		{purge.Prefix, "example.com:443/a", 2}, {purge.Prefix, "example.com:8443/a", 1},
		{purge.Wildcard, "example.com:443/*", 2}, {purge.Wildcard, "example.com:80/*", 1},
		{purge.URL, "example.com:443/a", 2}, {purge.URL, "https://example.com:443/a", 2}, {purge.URL, "example.com:80/a", 1},
	} {
		t.Run(tt.kind.String()+" "+tt.value, func(t *testing.T) {
			n := 0
			g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Cache-Control: max-age=60"))
			defer cleanup()
			g.get("https://example.com/a")
			g.shared.purge(purge.Purge{Kind: tt.kind, Value: tt.value})
			g.get("https://example.com/a")
			require.Equal(t, tt.want, n)
		})
	}
}

// TestPurgeAllReadsItsBody: a soft purge keeps the responses, and what is not
// understood purges nothing.
func TestPurgeAllReadsItsBody(t *testing.T) {
	for _, tt := range []struct {
		body string
		want purge.Verdict
		ok   bool
	}{
		{"", purge.Gone, true}, {"{}", purge.Gone, true}, {`{"soft": false}`, purge.Gone, true}, {`{"soft": true}`, purge.Soft, true},
		{`{"sotf": true}`, purge.Live, false}, {`soft`, purge.Live, false},
	} {
		t.Run(tt.body, func(t *testing.T) {
			n := 0
			g, cleanup := newRig(t, `{}`, answering(&n, 200, "x", "Cache-Control: max-age=60"))
			defer cleanup()
			g.get("http://example.com/")
			err := servePurgeAll(g.shared, httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/edge/cache/purge-all", strings.NewReader(tt.body)))
			require.Equal(t, tt.ok, err == nil, "%v", err)
			for o := range g.shared.memory.Range {
				require.Equal(t, tt.want, g.shared.purges.Check(o))
			}
		})
	}
}

// TestPURGEField: what Edge-Purge does not know purges nothing.
func TestPURGEField(t *testing.T) {
	for _, tt := range []struct {
		fields []string
		code   int
		want   purge.Verdict
	}{
		{nil, 200, purge.Gone}, {[]string{"soft"}, 200, purge.Soft}, {[]string{"Soft"}, 200, purge.Soft},
		{[]string{"sotf"}, 400, purge.Live}, {[]string{""}, 400, purge.Live}, {[]string{"soft", "hard"}, 400, purge.Live}, {[]string{"hard", "soft"}, 400, purge.Live},
	} {
		t.Run(strings.Join(tt.fields, ","), func(t *testing.T) {
			n := 0
			g, cleanup := newRig(t, `{"purge_allow": ["192.0.2.1"]}`, answering(&n, 200, "x", "Cache-Control: max-age=60"))
			defer cleanup()
			g.get("http://example.com/")
			r := httptest.NewRequest("PURGE", "http://example.com/", nil)
			r.Header["Edge-Purge"] = tt.fields
			require.Equal(t, tt.code, g.do(r).Code)
			for o := range g.shared.memory.Range {
				require.Equal(t, tt.want, g.shared.purges.Check(o))
			}
		})
	}
}
