package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/api"
)

type reply struct {
	Method string `json:"method"`
	Count  int    `json:"count"`
}

func init() {
	echo := func(w http.ResponseWriter, r *http.Request) error {
		return api.WriteJSON(w, reply{Method: r.Method})
	}
	api.Register(
		api.Route{Method: "GET", Path: "/edge/test", Handle: echo},
		api.Route{Method: "POST", Path: "/edge/test", Role: api.Operate, Handle: echo},
		api.Route{Method: "DELETE", Path: "/edge/test2", Role: api.Operate, Handle: echo},
	)
}

// requireStatus checks for an error that Caddy answers with status.
func requireStatus(t *testing.T, err error, status int) {
	t.Helper()
	var apiErr caddy.APIError
	require.ErrorAs(t, err, &apiErr)
	require.Equal(t, status, apiErr.HTTPStatus)
}

func TestModule(t *testing.T) {
	info, err := caddy.GetModule("admin.api.edge")
	require.NoError(t, err)
	routes := info.New().(caddy.AdminRouter).Routes()
	require.Len(t, routes, 2)
	require.Equal(t, "/edge/test", routes[0].Pattern)
	require.Equal(t, "/edge/test2", routes[1].Pattern)

	for _, method := range []string{"GET", "HEAD", "POST"} {
		w := httptest.NewRecorder()
		require.NoError(t, routes[0].Handler.ServeHTTP(w, httptest.NewRequest(method, "/edge/test", nil)))
		require.Equal(t, `{"method":"`+method+`","count":0}`+"\n", w.Body.String())
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	}

	w := httptest.NewRecorder()
	err = routes[0].Handler.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/edge/test", nil))
	requireStatus(t, err, http.StatusMethodNotAllowed)
	require.Equal(t, "GET, HEAD, POST", w.Header().Get("Allow"))
	err = routes[1].Handler.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/edge/test2", nil))
	requireStatus(t, err, http.StatusMethodNotAllowed)
}

func TestReadJSON(t *testing.T) {
	for _, test := range []struct {
		name, body string
		status     int
	}{
		{"object", `{"count": 3}` + "\n", 0},
		{"empty", "", 400},
		{"no JSON", "count=3", 400},
		{"cut off", `{"count": 3`, 400},
		{"wrong type", `{"count": "3"}`, 400},
		{"unknown field", `{"count": 3, "cuont": 4}`, 400},
		{"two values", `{"count": 3} {}`, 400},
		{"something behind", `{"count": 3} ]`, 400},
		{"too long", `{"method": "` + strings.Repeat("x", 1<<20) + `"}`, 413},
		{"too long behind", `{"count": 3}` + strings.Repeat(" ", 1<<20), 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			var v reply
			err := api.ReadJSON(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(test.body)), &v)
			if test.status != 0 {
				requireStatus(t, err, test.status)
				return
			}
			require.NoError(t, err)
			require.Equal(t, 3, v.Count)
		})
	}
}

func TestWriteJSONWritesNothingOnError(t *testing.T) {
	w := httptest.NewRecorder()
	require.Error(t, api.WriteJSON(w, func() {}))
	require.Empty(t, w.Body.String())
	require.Empty(t, w.Header())
}

func FuzzReadJSON(f *testing.F) {
	f.Add(`{"method": "GET", "count": 3}`)
	f.Add(`{} {}`)
	f.Add("null")
	f.Fuzz(func(t *testing.T, body string) {
		var v reply
		if err := api.ReadJSON(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), &v); err != nil {
			var apiErr caddy.APIError
			require.ErrorAs(t, err, &apiErr)
			return
		}
		// What was accepted is one value that says the same when read again.
		w := httptest.NewRecorder()
		require.NoError(t, api.WriteJSON(w, v))
		var again reply
		require.NoError(t, api.ReadJSON(httptest.NewRequest(http.MethodPost, "/", w.Body), &again))
		require.Equal(t, v, again)
	})
}
