package edgecache

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUnsafeRequestsInvalidate: whatever else a request that changes something
// says, and under whichever of the names that share a response it is made.
func TestUnsafeRequestsInvalidate(t *testing.T) {
	tests := []struct {
		name, config, stored string
		method, url          string
		fields               []string
		want                 string
	}{
		{"plain", `{}`, "http://example.com/a", "POST", "http://example.com/a", nil, "3"},
		{"empty query", `{}`, "http://example.com/a?", "POST", "http://example.com/a?", nil, "3"},
		{"another path", `{}`, "http://example.com/a", "POST", "http://example.com/b", nil, "1"},
		{"another host", `{}`, "http://example.com/a", "POST", "http://example.org/a", nil, "1"},
		{"another scheme", `{}`, "https://example.com/a", "POST", "http://example.com/a", nil, "1"},
		{"upgrade to h2c", `{}`, "http://example.com/a", "POST", "http://example.com/a",
			[]string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"}, "3"},
		{"empty upgrade", `{}`, "http://example.com/a", "DELETE", "http://example.com/a", []string{"Upgrade: "}, "3"},
		{"ignored scheme", `{"key": {"ignore_scheme": true}}`, "https://example.com/a", "POST", "http://example.com/a", nil, "3"},
		{"ignored scheme, the other way", `{"key": {"ignore_scheme": true}}`, "http://example.com/a", "PUT", "https://example.com/a", nil, "3"},
		{"ignored host", `{"namespace": "n", "key": {"ignore_host": true}}`, "http://example.com/a", "POST", "http://example.org/a", nil, "3"},
		{"ignored host, another path", `{"namespace": "n", "key": {"ignore_host": true}}`, "http://example.com/a", "POST", "http://example.org/b", nil, "1"},
		{"ignored host and scheme", `{"namespace": "n", "key": {"ignore_host": true, "ignore_scheme": true}}`,
			"https://example.com/a", "PATCH", "http://example.org/a", nil, "3"},
		{"PURGE", `{"purge_allow": ["192.0.2.1"]}`, "http://example.com/a", "PURGE", "http://example.com/a", nil, "2"},
		{"PURGE, another host", `{"purge_allow": ["192.0.2.1"]}`, "http://example.com/a", "PURGE", "http://example.org/a", nil, "1"},
		{"PURGE, ignored scheme", `{"purge_allow": ["192.0.2.1"], "key": {"ignore_scheme": true}}`,
			"https://example.com/a", "PURGE", "http://example.com/a", nil, "2"},
		{"PURGE, ignored host", `{"purge_allow": ["192.0.2.1"], "namespace": "n", "key": {"ignore_host": true}}`,
			"http://example.com/a?b=c", "PURGE", "http://example.org/a?b=c", nil, "2"},
		{"PURGE, ignored host, another query", `{"purge_allow": ["192.0.2.1"], "namespace": "n", "key": {"ignore_host": true}}`,
			"http://example.com/a?b=c", "PURGE", "http://example.org/a?b=d", nil, "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := &numbered{fields: []string{"Cache-Control: max-age=60"}}
			g, cleanup := newRig(t, tt.config, o.ServeHTTP)
			defer cleanup()
			require.Equal(t, "1", g.get(tt.stored).Body.String())
			require.Equal(t, "1", g.get(tt.stored).Body.String(), "stored")
			require.Equal(t, http.StatusOK, g.send(tt.method, tt.url, tt.fields...).Code)
			require.Equal(t, tt.want, g.get(tt.stored).Body.String())
		})
	}
}
