package edgeapp_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestRoutesOfJSON covers what a Caddyfile does not make.
func TestRoutesOfJSON(t *testing.T) {
	const (
		cache  = `{"handler": "fake_cache"}`
		auth   = `{"handler": "authentication"}`
		answer = `{"handler": "static_response"}`
		client = `"match": [{"client_ip": {"ranges": ["192.0.2.0/24"]}}]`
	)
	groups := func(n int) string {
		var routes strings.Builder
		for i := range n {
			fmt.Fprintf(&routes, `{"group": "g%d", "match": [{"path": ["/%d"]}], "handle": [{"handler": "vars"}]},`, i, i)
		}
		return routes.String()
	}
	for _, test := range []struct {
		name, server string
		want         []string
	}{
		{"terminal route", `"routes": [
			{"match": [{"path": ["/a"]}], "terminal": true, "handle": [` + cache + `]},
			{"handle": [` + auth + `]}
		]`, nil},
		{"route of the same group in another list", `"routes": [
			{"group": "g", "match": [{"path": ["/a"]}], "handle": [` + cache + `]},
			{"handle": [{"handler": "subroute", "routes": [{"group": "other", "handle": [` + auth + `]}]}]}
		]`, []string{"authentication at routes/1/handle/0/routes/0/handle/0 "}},
		{"alternatives of which none can meet", `"routes": [
			{"match": [{"path": ["/a"]}, {"path": ["/b"]}], "handle": [` + cache + `]},
			{"match": [{"path": ["/c"]}, {"path": ["/d"]}], "handle": [` + auth + `]}
		]`, nil},
		{"alternatives of which one can meet", `"routes": [
			{"match": [{"path": ["/a"]}, {"method": ["GET"]}], "handle": [` + cache + `]},
			{"match": [{"path": ["/c"]}], "handle": [` + auth + `]}
		]`, []string{"authentication at "}},
		{"methods that differ", `"routes": [
			{"match": [{"method": ["GET", "HEAD"]}], "handle": [` + cache + `]},
			{"match": [{"method": ["POST"]}], "handle": [` + auth + `]}
		]`, nil},
		{"error routes of a subroute behind the cache", `"routes": [{"handle": [` + cache + `,
			{"handler": "subroute", "routes": [{"handle": [{"handler": "error"}]}], "errors": {"routes": [{"handle": [` + auth + `]}]}}
		]}]`, []string{"authentication at routes/0/handle/1/errors/routes/0/handle/0 "}},
		{"error routes of a subroute around the cache", `"routes": [{"handle": [
			{"handler": "subroute", "routes": [{"handle": [` + cache + `]}], "errors": {"routes": [{"handle": [` + auth + `]}]}}
		]}]`, nil},
		{"error routes of the server", `"routes": [{"handle": [` + cache + `]}], "errors": {"routes": [{"handle": [` + auth + `]}]}`, nil},
		{"early hints go on", `"routes": [{"handle": [{"handler": "static_response", "status_code": 103}, ` + cache + `]}]`, nil},
		{"cache behind an answer in the same route", `"routes": [{"handle": [` + answer + `, ` + cache + `]}]`,
			[]string{"edge_cache at routes/0/handle/1 can never be reached"}},
		{"cache behind a proxy that always answers", `"routes": [
			{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]}]}, {"handle": [` + cache + `]}]`,
			[]string{"can never be reached"}},
		{"cache behind files that may be missing", `"routes": [
			{"handle": [{"handler": "file_server", "pass_thru": true}]}, {"handle": [` + cache + `]}]`, nil},
		{"named route that invokes itself", `"routes": [{"handle": [{"handler": "invoke", "name": "loop"}]}],
			"named_routes": {"loop": {"handle": [` + cache + `, {"handler": "invoke", "name": "loop"}]}}`, nil},
		{"matcher set without matchers", `"routes": [{"match": [{}], "handle": [` + answer + `]}, {"handle": [` + cache + `]}]`,
			[]string{"can never be reached"}},
		{"caches of which a header chooses the first", `"routes": [
			{` + client + `, "handle": [` + cache + `, ` + answer + `]},
			{"handle": [` + cache + `, ` + answer + `]}
		]`, []string{`chosen by client_ip {"`}},
		{"caches of which a path chooses the first", `"routes": [
			{"match": [{"path_regexp": {"pattern": "^/a"}, "client_ip": {"ranges": ["192.0.2.0/24"]}}], "handle": [` + cache + `, ` + answer + `]},
			{"match": [{"not": [{"path_regexp": {"pattern": "^/a"}}]}], "handle": [` + cache + `, ` + answer + `]}
		]`, nil},
		{"every fault is told", `"routes": [
			{"handle": [` + cache + `, ` + auth + `]},
			{` + client + `, "handle": [` + answer + `]},
			{"handle": [` + answer + `]},
			{"handle": [` + cache + `]}
		]`, []string{"authentication at ", "respond at routes/1/", "edge_cache at routes/3/handle/0 can never be reached"}},
		{"many groups", `"routes": [` + groups(40) + `{"handle": [` + cache + `]}, {"match": [{"host": ["a.test"]}], "handle": [` + auth + `]}]`,
			[]string{"authentication at "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := `{"apps": {"http": {"servers": {"edge": {"listen": ["127.0.0.1:0"], ` + test.server + `}}}}}`
			requireFaults(t, startErr(t, []byte(config)), test.want)
		})
	}
}
