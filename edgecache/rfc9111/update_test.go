package rfc9111

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStoredHeader(t *testing.T) {
	h := header("Connection: a, B", "Connection: close", "A: 1", "B: 2", "C: 3", "Keep-Alive: x", "Proxy-Connection: x",
		"Proxy-Authenticate: x", "Proxy-Authentication-Info: x", "Proxy-Authorization: x", "TE: x", "Trailer: x",
		"Transfer-Encoding: chunked", "Upgrade: x", "Age: 5", "Edge-Cache-Control: max-age=1", "Set-Cookie: a=b",
		"X-One: 1", "X-Two: 2", "Cache-Control: max-age=9", "CDN-Cache-Control: max-age=3", "Content-Range: x")
	before := h.Clone()
	d := ParseCacheControl([]string{`no-cache="x-one", private="X-Two"`})
	require.Equal(t, header("C: 3", "Set-Cookie: a=b", "Cache-Control: max-age=9", "CDN-Cache-Control: max-age=3", "Content-Range: x"), StoredHeader(h, d))
	require.Equal(t, before, h, "the argument is not changed")
	require.Equal(t, http.Header{}, StoredHeader(nil, d))
	require.NotContains(t, StoredHeader(header("Set-Cookie: a=b"), ParseCacheControl([]string{"private=set-cookie"})), "Set-Cookie")
}

func TestUpdate304(t *testing.T) {
	stored := header("Test: A", "Kept: A", "Content-Length: 36", "Content-Encoding: gzip", "Content-Range: A", "Content-Type: text/plain",
		`ETag: W/"a"`, "Two: 1", "Two: 2", "Age: 3")
	fresh := header("Test: B", "Content-Length: 10", "Content-Encoding: br", "Content-Range: B", "Content-Type: text/html",
		`ETag: "a"`, "Two: 3", "Age: 7", "Connection: x", "X: 1", "Set-Cookie: a=b", "New: 1", "Edge-Cache-Control: max-age=1")
	keptStored, keptFresh := stored.Clone(), fresh.Clone()
	want := header("Test: B", "Kept: A", "Content-Length: 36", "Content-Encoding: gzip", "Content-Range: A", "Content-Type: text/html",
		`ETag: W/"a"`, "Two: 3", "New: 1", "Edge-Cache-Control: max-age=1")
	require.Equal(t, want, Update304(stored, fresh))
	require.Equal(t, keptStored, stored)
	require.Equal(t, keptFresh, fresh)
	require.Equal(t, header("Set-Cookie: a=c"), Update304(header("Set-Cookie: a=b"), header("Set-Cookie: a=c")))
	require.Equal(t, header(`ETag: "b"`), Update304(header(`ETag: "a"`), header(`ETag: "b"`)))
	require.Equal(t, http.Header{}, Update304(nil, nil))
	require.Equal(t, http.Header{"Etag": {}}, Update304(header(`ETag: W/"a"`), http.Header{"Etag": {}}))
}

func TestMatchesStored(t *testing.T) {
	modified, other := "Last-Modified: "+httpDate(-time.Hour), "Last-Modified: "+httpDate(-time.Minute)
	tests := []struct {
		name             string
		stored, response []string
		want             bool
	}{
		{"same tag", []string{`ETag: "a"`}, []string{`ETag: "a"`}, true},
		{"other tag", []string{`ETag: "a"`, modified}, []string{`ETag: "b"`, modified}, false},
		{"weak and strong", []string{`ETag: W/"a"`}, []string{`ETag: "a"`}, true},
		{"strong and weak", []string{`ETag: "a"`}, []string{`ETag: W/"a"`}, true},
		{"weak and other", []string{`ETag: W/"a"`}, []string{`ETag: W/"b"`}, false},
		{"unquoted", []string{`ETag: abc`}, []string{`ETag: abc`}, true},
		{"tag where there was none", []string{modified}, []string{`ETag: "a"`, modified}, false},
		{"tag decides", []string{`ETag: "a"`, modified}, []string{`ETag: "a"`, other}, true},
		{"same date", []string{modified, `ETag: "a"`}, []string{modified}, true},
		{"other date", []string{modified}, []string{other}, false},
		{"same date, other form", []string{"Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT"}, []string{"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"}, true},
		{"date where there was none", []string{`ETag: "a"`}, []string{modified}, false},
		{"no validator", []string{`ETag: "a"`}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, MatchesStored(header(tt.stored...), header(tt.response...)))
		})
	}
}

func TestHeadMatches(t *testing.T) {
	stored := header(`ETag: "a"`, "Last-Modified: "+httpDate(0), "Content-Length: 5")
	require.True(t, HeadMatches(stored, header()))
	require.True(t, HeadMatches(stored, stored))
	require.True(t, HeadMatches(stored, header("Content-Length: 5", "Other: 1")))
	require.False(t, HeadMatches(stored, header("Content-Length: 6")))
	require.False(t, HeadMatches(stored, header(`ETag: W/"a"`)))
	require.False(t, HeadMatches(stored, header("Last-Modified: "+httpDate(1e9))))
	require.False(t, HeadMatches(header(), header("Content-Length: 6")))
}

func TestConditionalHeader(t *testing.T) {
	modified := httpDate(-time.Hour)
	tests := []struct {
		stored   []string
		inm, ims string
	}{
		{nil, "", ""},
		{[]string{`ETag: "a"`}, `"a"`, ""},
		{[]string{`ETag: W/"a"`, "Last-Modified: " + modified}, `W/"a"`, modified},
		{[]string{`ETag: a`}, `a`, ""},
		{[]string{`ETag: "a"`, `ETag: "b"`}, "", ""},
		{[]string{"Last-Modified: foo"}, "", ""},
		{[]string{"Last-Modified: " + modified, "Last-Modified: " + modified}, "", ""},
	}
	for _, tt := range tests {
		inm, ims := ConditionalHeader(header(tt.stored...))
		require.Equal(t, tt.inm, inm, tt.stored)
		require.Equal(t, tt.ims, ims, tt.stored)
	}
}

func TestRefresh(t *testing.T) {
	o := &Options{}
	stored := header("Date: "+httpDate(-time.Hour), "Cache-Control: max-age=60", `ETag: "a"`, "Kept: 1")
	later := now.Add(time.Second)
	notModified := func(lines ...string) *Response {
		return &Response{Status: 304, Header: header(lines...), RequestTime: now, ResponseTime: later}
	}

	h, decision := o.Refresh(get(), 200, stored, notModified())
	require.True(t, decision.Store)
	require.Equal(t, []string{later.Format(http.TimeFormat)}, h["Date"], "a 304 without Date is from now")
	require.Equal(t, Freshness{ResponseTime: later.UnixMilli(), InitialAge: 1000, Lifetime: 60_000}, decision.Freshness)
	require.Equal(t, "1", h.Get("Kept"))

	h, decision = o.Refresh(get(), 200, stored, notModified("Date: "+httpDate(0), "Age: 5", "Cache-Control: max-age=90"))
	require.Equal(t, int64(90_000), decision.Freshness.Lifetime)
	require.Equal(t, int64(6000), decision.Freshness.InitialAge)
	require.NotContains(t, h, "Age")

	_, decision = o.Refresh(get(), 200, stored, notModified("Cache-Control: no-store"))
	require.Equal(t, StoreDecision{Reason: ReasonNoStore}, decision)

	_, decision = o.Refresh(get("Authorization: x"), 200, stored, notModified())
	require.Equal(t, StoreDecision{Reason: ReasonAuthorization}, decision)

	_, decision = o.Refresh(get("Cookie: a=b"), 200, header(`ETag: "a"`), notModified())
	require.True(t, decision.Store, "the cookie had no part in what is stored")
	require.Equal(t, ReasonValidatorOnly, decision.Reason)

	_, decision = o.Refresh(get(), 404, stored, notModified())
	require.True(t, decision.Store && decision.ErrorStatus)
}

func TestInvalidationTargets(t *testing.T) {
	tests := []struct {
		name, method string
		status       int
		url          string
		lines        []string
		want         []string
	}{
		{"safe", "GET", 200, "http://a/x", nil, nil},
		{"post", "POST", 201, "http://a/x#f", nil, []string{"http://a/x"}},
		{"unknown method", "M-SEARCH", 200, "http://a/x", nil, []string{"http://a/x"}},
		{"redirect", "POST", 303, "http://a/x", nil, []string{"http://a/x"}},
		{"failed", "PUT", 500, "http://a/x", nil, nil},
		{"refused", "DELETE", 404, "http://a/x", nil, nil},
		{"interim", "POST", 102, "http://a/x", nil, nil},
		{"both fields", "POST", 200, "http://a/d/x", []string{"Location: y?q#f", "Content-Location: /z"}, []string{"http://a/d/x", "http://a/d/y?q", "http://a/z"}},
		{"same again", "POST", 200, "http://a/x", []string{"Location: http://a/x", "Content-Location: "}, []string{"http://a/x"}},
		{"default port, other case", "POST", 200, "http://a/x", []string{"Location: HTTP://A:80/y"}, []string{"http://a/x", "http://A:80/y"}},
		{"https default port", "POST", 200, "https://a/x", []string{"Location: https://a:443/y"}, []string{"https://a/x", "https://a:443/y"}},
		{"other host", "POST", 200, "http://a/x", []string{"Location: http://b/y", "Content-Location: //b/y"}, []string{"http://a/x"}},
		{"other scheme", "POST", 200, "http://a/x", []string{"Location: https://a/y"}, []string{"http://a/x"}},
		{"other port", "POST", 200, "http://a/x", []string{"Location: http://a:81/y"}, []string{"http://a/x"}},
		{"unknown scheme", "POST", 200, "x://a/x", []string{"Location: x://a/y"}, []string{"x://a/x", "x://a/y"}},
		{"not a reference", "POST", 200, "http://a/x", []string{"Location: http://[::1"}, []string{"http://a/x"}},
		{"user information", "POST", 200, "http://u:p@a/x", []string{"Location: http://v@a/y"}, []string{"http://a/x", "http://a/y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			require.NoError(t, err)
			var got []string
			for _, target := range InvalidationTargets(tt.method, tt.status, u, header(tt.lines...)) {
				got = append(got, target.String())
			}
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.url, u.String(), "the argument is not changed")
		})
	}
}

func FuzzInvalidationTargets(f *testing.F) {
	f.Add("/y")
	f.Add("http://b/")
	f.Fuzz(func(t *testing.T, location string) {
		self := &url.URL{Scheme: "https", Host: "a.example", Path: "/x"}
		for _, target := range InvalidationTargets("POST", 200, self, http.Header{"Location": {location}}) {
			require.True(t, sameOrigin(self, target))
			require.Empty(t, target.Fragment)
			require.Nil(t, target.User)
		}
	})
}
