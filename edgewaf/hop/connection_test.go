package hop

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConnection(t *testing.T) {
	policy := NewPolicy("x-authenticated-user")
	for _, test := range []struct {
		name       string
		connection []string
		major      int
		left       string
		deleted    string
		kept       string
		untouched  bool
	}{
		{name: "none", major: 1, untouched: true},
		{name: "ordinary", connection: []string{"keep-alive"}, major: 1, left: "keep-alive", untouched: true},
		{name: "a WebSocket", connection: []string{"keep-alive, Upgrade"}, major: 1, left: "keep-alive, upgrade", untouched: true},
		{name: "another order", connection: []string{"upgrade , Keep-Alive"}, major: 1, left: "upgrade, keep-alive", untouched: true},
		{name: "te", connection: []string{"te, close"}, major: 1, left: "te, close", untouched: true},
		{name: "cookies", connection: []string{"close, cookie"}, major: 1, left: "close", kept: "Cookie"},
		{name: "several lines", connection: []string{"X-Secret", "AUTHORIZATION, Upgrade"}, major: 1, left: "upgrade", deleted: "X-Secret", kept: "Authorization"},
		{name: "the edge's own", connection: []string{"X-Authenticated-User"}, major: 1, kept: "X-Authenticated-User"},
		{name: "framing", connection: []string{"transfer-encoding, content-length"}, major: 1, kept: "Content-Length"},
		{name: "prefixes", connection: []string{"x-forwarded-for,if-none-match"}, major: 1, kept: "X-Forwarded-For,If-None-Match"},
		{name: "what is not there", connection: []string{"X-Other"}, major: 1},
		{name: "no tokens", connection: []string{", ,"}, major: 1},
		{name: "no names", connection: []string{"a b, @, \"x\""}, major: 1},
		{name: "itself", connection: []string{"connection, close"}, major: 1, left: "close", deleted: "Connection"},
		{name: "HTTP/2", connection: []string{"keep-alive"}, major: 2},
		{name: "HTTP/3", connection: []string{"Upgrade, X-Secret"}, major: 3, deleted: "X-Secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{
				"Cookie": {"a=b"}, "Authorization": {"Basic x"}, "X-Secret": {"1"}, "X-Authenticated-User": {"bob"},
				"Content-Length": {"1"}, "X-Forwarded-For": {"192.0.2.1"}, "If-None-Match": {"*"},
			}
			if test.connection != nil {
				header["Connection"] = slices.Clone(test.connection)
			}
			before := header.Clone()
			plan := policy.Plan(header, test.major)
			require.Equal(t, before, header, "a plan changes nothing")
			require.Equal(t, !test.untouched, plan.Needed())
			require.Equal(t, test.deleted, strings.Join(plan.Delete, ","))
			require.Equal(t, test.kept, strings.Join(plan.Kept, ","))
			plan.Apply(header)
			if test.untouched {
				require.Equal(t, before, header)
				return
			}
			require.Equal(t, test.left, header.Get("Connection"))
			for name := range before {
				if name != "Connection" {
					require.Equal(t, !slices.Contains(plan.Delete, name), header[name] != nil, name)
				}
			}
		})
	}
}

// FuzzConnection: whatever a client sends, only the four options are left, what goes
// from end to end stays, and a second look finds nothing to do.
func FuzzConnection(f *testing.F) {
	f.Add("close, cookie", "x-secret")
	f.Add("Upgrade,, te", "\x00,connection")
	f.Fuzz(func(t *testing.T, first, second string) {
		header := http.Header{"Connection": {first, second}, "Cookie": {"a"}, "X-Secret": {"1"}, "Range": {"bytes=0-"}}
		policy := new(Policy)
		plan := policy.Plan(header, 1)
		plan.Apply(header)
		require.NotEmpty(t, header["Cookie"])
		require.NotEmpty(t, header["Range"])
		for value := range strings.SplitSeq(header.Get("Connection"), ",") {
			if value = strings.TrimSpace(value); value != "" {
				require.Contains(t, []string{"close", "keep-alive", "upgrade", "te"}, strings.ToLower(value))
			}
		}
		again := policy.Plan(header, 1)
		require.Empty(t, again.Delete)
		if plan.Needed() {
			require.False(t, again.Needed())
		}
	})
}

func BenchmarkPlan(b *testing.B) {
	header := http.Header{"Connection": {"keep-alive"}}
	policy := new(Policy)
	b.ReportAllocs()
	for b.Loop() {
		plan := policy.Plan(header, 1)
		plan.Apply(header)
	}
}
