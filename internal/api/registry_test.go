package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func nothing(http.ResponseWriter, *http.Request) error { return nil }

func TestRoutesAreOrdered(t *testing.T) {
	var reg registry
	reg.add(
		Route{Method: "POST", Path: "/edge/b", Role: Operate, Handle: nothing},
		Route{Method: "GET", Path: "/edge/b", Handle: nothing},
	)
	reg.add(Route{Method: "GET", Path: "/edge/a", Handle: nothing})

	var got []string
	for _, r := range reg.all() {
		got = append(got, r.Method+" "+r.Path+" "+r.Role.String())
	}
	require.Equal(t, []string{"GET /edge/a read", "GET /edge/b read", "POST /edge/b operate"}, got)
	require.Len(t, reg.at("/edge/b"), 2)
	require.Empty(t, reg.at("/edge"))
	require.Equal(t, "Role(7)", Role(7).String())
}

func TestMalformedRoutes(t *testing.T) {
	for _, test := range []struct {
		route Route
		want  string
	}{
		{Route{Path: "/edge/a", Handle: nothing}, "no method"},
		{Route{Method: "GET", Path: "/config/a", Handle: nothing}, "must begin with /edge/"},
		{Route{Method: "GET", Path: "/edge/", Handle: nothing}, "must be fixed"},
		{Route{Method: "GET", Path: "/edge/{key}", Handle: nothing}, "must be fixed"},
		{Route{Method: "GET", Path: "/edge/a"}, "no handler"},
		{Route{Method: "GET", Path: "/edge/taken", Handle: nothing}, "registered already"},
	} {
		t.Run(test.want, func(t *testing.T) {
			var reg registry
			reg.add(Route{Method: "GET", Path: "/edge/taken", Handle: nothing})
			defer func() { require.Contains(t, recover(), test.want) }()
			reg.add(test.route)
		})
	}
}
