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
	require.Len(t, routes, 3)
	require.Equal(t, "/edge/", routes[0].Pattern)
	routes = routes[1:]
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

// TestIndex: below /edge/ whatever is no route is an error in JSON, and the root
// tells the routes.
func TestIndex(t *testing.T) {
	mux := http.NewServeMux()
	var fault error
	for _, route := range new(api.Module).Routes() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) { fault = route.Handler.ServeHTTP(w, r) })
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/edge/", nil))
	require.NoError(t, fault)
	require.JSONEq(t, `{"routes": [{"method": "GET", "path": "/edge/test", "role": "read"}, {"method": "POST", "path": "/edge/test", "role": "operate"},
		{"method": "DELETE", "path": "/edge/test2", "role": "operate"}]}`, w.Body.String())
	for _, path := range []string{"/edge/nothing", "/edge/test/", "/edge/test/more"} {
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
		requireStatus(t, fault, http.StatusNotFound)
		require.ErrorContains(t, fault, "there is no route "+path+": GET /edge/ lists them")
	}
	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/edge/", nil))
	requireStatus(t, fault, http.StatusMethodNotAllowed)
}

// TestReadJSONInWords: errors about types are in the terms of JSON.
func TestReadJSONInWords(t *testing.T) {
	for body, want := range map[string]string{
		`{"count": "3"}`:          "reading request body: count: got string, want a number",
		`{"tags": "a"}`:           "reading request body: tags: got string, want a list",
		`{"tags": [1]}`:           "reading request body: tags: got number, want a string",
		`{"soft": 1}`:             "reading request body: soft: got number, want true or false",
		`{"inner": []}`:           "reading request body: inner: got array, want an object",
		`{"inner": {"name": {}}}`: "reading request body: inner.name: got object, want a string",
		`[]`:                      "reading request body: got array, want an object",
		`{"tgas": "a"}`:           `reading request body: unknown field "tgas"`,
	} {
		var v struct {
			Count int      `json:"count"`
			Tags  []string `json:"tags"`
			Soft  bool     `json:"soft"`
			Inner struct {
				Name *string `json:"name"`
			} `json:"inner"`
		}
		err := api.ReadJSON(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), &v)
		require.EqualError(t, err, want, body)
	}
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
