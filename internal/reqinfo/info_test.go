package reqinfo_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

func newRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{}))
}

func list(i *reqinfo.Info) (fields []string) {
	i.Range(func(key, value string) bool {
		fields = append(fields, key+"="+value)
		return true
	})
	return fields
}

func TestRecordBelongsToRequest(t *testing.T) {
	r := newRequest()
	require.Nil(t, reqinfo.Peek(r))
	info := reqinfo.From(r)
	require.Same(t, info, reqinfo.From(r))
	require.Same(t, info, reqinfo.Peek(r))
	require.Same(t, info, reqinfo.Peek(r.WithContext(context.WithoutCancel(r.Context()))))
	require.Nil(t, reqinfo.Peek(newRequest()))

	other := new(reqinfo.Info)
	reqinfo.Attach(r, other)
	require.Same(t, other, reqinfo.From(r))
}

func TestRequestWithoutVars(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	info := reqinfo.From(r)
	require.NotNil(t, info)
	info.Set("a", "1")
	require.Nil(t, reqinfo.Peek(r))
}

func TestFields(t *testing.T) {
	var info reqinfo.Info
	info.Set("b", "1")
	info.Set("a", "2")
	info.Set("b", "3")
	require.Equal(t, []string{"b=3", "a=2"}, list(&info))

	value, ok := info.Get("b")
	require.True(t, ok)
	require.Equal(t, "3", value)
	_, ok = info.Get("c")
	require.False(t, ok)

	var dst reqinfo.Info
	dst.Set("a", "old")
	dst.Set("z", "kept")
	info.CopyTo(&dst)
	require.Equal(t, []string{"a=2", "z=kept", "b=3"}, list(&dst))
	require.Equal(t, []string{"b=3", "a=2"}, list(&info))

	calls := 0
	info.Range(func(string, string) bool {
		calls++
		return false
	})
	require.Equal(t, 1, calls)
}

func TestNilRecord(t *testing.T) {
	var info *reqinfo.Info
	_, ok := info.Get("a")
	require.False(t, ok)
	require.Empty(t, list(info))
	dst := new(reqinfo.Info)
	info.CopyTo(dst)
	require.Empty(t, list(dst))
}

// logging returns a request whose server has an access log, and its fields.
func logging(logs bool) (context.Context, *caddyhttp.ExtraLogFields) {
	srv, extra := new(caddyhttp.Server), new(caddyhttp.ExtraLogFields)
	if logs {
		srv.Logs = new(caddyhttp.ServerLogConfig)
	}
	ctx := context.WithValue(newRequest().Context(), caddyhttp.ServerCtxKey, srv)
	return context.WithValue(ctx, caddyhttp.ExtraLogFieldsCtxKey, extra), extra
}

// loggedIn returns the names and values of the fields, which Caddy keeps to itself.
func loggedIn(extra *caddyhttp.ExtraLogFields) (list []string) {
	fields := reflect.ValueOf(extra).Elem().FieldByName("fields")
	for i := range fields.Len() {
		f := fields.Index(i)
		list = append(list, f.FieldByName("Key").String()+"="+f.FieldByName("String").String())
	}
	return list
}

func TestLogOfAnotherRequest(t *testing.T) {
	ctx, extra := logging(true)
	reqinfo.Log(ctx, "edge_x", "1")
	require.Equal(t, []string{"edge_x=1"}, loggedIn(extra), "without a record")

	behind, _ := logging(true)
	info := reqinfo.From(httptest.NewRequestWithContext(behind, http.MethodGet, "/", nil))
	info.Set("edge_y", "2")
	reqinfo.Log(behind, "edge_x", "3")
	ctx, extra = logging(true)
	info.Log(ctx)
	require.Equal(t, []string{"edge_x=3"}, loggedIn(extra), "noted for a log in front, and nothing else")

	ctx, extra = logging(false)
	info.Log(ctx)
	reqinfo.Log(ctx, "edge_x", "4")
	require.Empty(t, loggedIn(extra), "no access log")
	reqinfo.Log(t.Context(), "edge_x", "5")
	(*reqinfo.Info)(nil).Log(ctx)
}
