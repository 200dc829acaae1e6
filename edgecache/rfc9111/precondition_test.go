package rfc9111

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestETagMatch(t *testing.T) {
	tests := []struct {
		a, b         string
		weak, strong bool
	}{
		{`"a"`, `"a"`, true, true},
		{`W/"a"`, `"a"`, true, false},
		{`W/"a"`, `W/"a"`, true, false},
		{`"a"`, `"b"`, false, false},
		{`""`, `""`, true, true},
		{`"aü"`, `"aü"`, true, true},
		{`"a,b"`, `"a,b"`, true, true},
		{` "a" `, `"a"`, true, true},
		{`a`, `a`, false, false},
		{`w/"a"`, `w/"a"`, false, false},
		{`W"a"`, `W"a"`, false, false},
		{`"a`, `"a`, false, false},
		{`"a" x`, `"a" x`, false, false},
		{`"a b"`, `"a b"`, false, false},
		{``, ``, false, false},
	}
	for _, tt := range tests {
		require.Equal(t, tt.weak, ETagWeakMatch(tt.a, tt.b), "%s %s", tt.a, tt.b)
		require.Equal(t, tt.weak, ETagWeakMatch(tt.b, tt.a), "%s %s", tt.b, tt.a)
		require.Equal(t, tt.strong, ETagStrongMatch(tt.a, tt.b), "%s %s", tt.a, tt.b)
	}
}

func TestPrecondition(t *testing.T) {
	date := "Date: " + httpDate(0)
	tagged := []string{date, `ETag: "a"`, "Last-Modified: " + httpDate(-time.Hour)}
	tests := []struct {
		name   string
		req    []string
		stored []string
		want   int
	}{
		{"none", nil, tagged, 0},
		{"inm", []string{`If-None-Match: "a"`}, tagged, 304},
		{"inm weak against strong", []string{`If-None-Match: W/"a"`}, tagged, 304},
		{"inm weak against weak", []string{`If-None-Match: W/"a"`}, []string{`ETag: W/"a"`}, 304},
		{"inm other", []string{`If-None-Match: "b"`}, tagged, 0},
		{"inm star", []string{"If-None-Match: *"}, []string{date}, 304},
		{"inm first of several", []string{`If-None-Match: "a", "b", "c"`}, tagged, 304},
		{"inm middle one", []string{`If-None-Match: "b", "a", "c"`}, tagged, 304},
		{"inm last one", []string{`If-None-Match: "b", "c", "a"`}, tagged, 304},
		{"inm second line", []string{`If-None-Match: "b"`, `If-None-Match: "a"`}, tagged, 304},
		{"inm comma inside", []string{`If-None-Match: "x,a", "b"`}, tagged, 0},
		{"inm behind a malformed one", []string{`If-None-Match: foo, "b"x, , "a"`}, tagged, 304},
		{"inm malformed", []string{`If-None-Match: a`}, tagged, 0},
		{"inm open quote", []string{`If-None-Match: "a`}, tagged, 0},
		{"inm no tag stored", []string{`If-None-Match: "a"`}, []string{date}, 0},
		{"inm two tags stored", []string{`If-None-Match: "a"`}, []string{`ETag: "a"`, `ETag: "b"`}, 0},
		{"inm before ims", []string{`If-None-Match: "a"`, "If-Modified-Since: " + httpDate(-2*time.Hour)}, tagged, 304},
		{"inm fails before ims", []string{`If-None-Match: "b"`, "If-Modified-Since: " + httpDate(0)}, tagged, 0},
		{"ims equal", []string{"If-Modified-Since: " + httpDate(-time.Hour)}, tagged, 304},
		{"ims later", []string{"If-Modified-Since: " + httpDate(-time.Minute)}, tagged, 304},
		{"ims earlier", []string{"If-Modified-Since: " + httpDate(-2*time.Hour)}, tagged, 0},
		{"ims rfc850", []string{"If-Modified-Since: " + strings.Replace(now.Add(-time.Hour).Format(time.RFC850), "UTC", "GMT", 1)}, tagged, 304},
		{"ims invalid", []string{"If-Modified-Since: foo"}, tagged, 0},
		{"ims twice", []string{"If-Modified-Since: " + httpDate(0), "If-Modified-Since: " + httpDate(0)}, tagged, 0},
		{"ims by Date", []string{"If-Modified-Since: " + httpDate(time.Minute)}, []string{date}, 304},
		{"ims before Date", []string{"If-Modified-Since: " + httpDate(-time.Minute)}, []string{date}, 0},
		{"ims nothing stored", []string{"If-Modified-Since: " + httpDate(0)}, nil, 0},
		{"im", []string{`If-Match: "b", "a"`}, tagged, 0},
		{"im star", []string{`If-Match: *`}, tagged, 0},
		{"im other", []string{`If-Match: "b"`}, tagged, 412},
		{"im weak", []string{`If-Match: W/"a"`}, tagged, 412},
		{"im weak stored", []string{`If-Match: "a"`}, []string{`ETag: W/"a"`}, 412},
		{"im no tag stored", []string{`If-Match: "a"`}, []string{date}, 412},
		{"im then inm", []string{`If-Match: "a"`, `If-None-Match: "a"`}, tagged, 304},
		{"im before ius", []string{`If-Match: "a"`, "If-Unmodified-Since: " + httpDate(-2*time.Hour)}, tagged, 0},
		{"ius", []string{"If-Unmodified-Since: " + httpDate(-time.Hour)}, tagged, 0},
		{"ius earlier", []string{"If-Unmodified-Since: " + httpDate(-2*time.Hour)}, tagged, 412},
		{"ius invalid", []string{"If-Unmodified-Since: foo"}, tagged, 0},
		{"ius no date stored", []string{"If-Unmodified-Since: " + httpDate(-2*time.Hour)}, []string{date}, 0},
		{"ius then inm", []string{"If-Unmodified-Since: " + httpDate(0), `If-None-Match: "a"`}, tagged, 304},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, Precondition(header(tt.req...), header(tt.stored...), true))
			require.Zero(t, Precondition(header(tt.req...), header(tt.stored...), false), "conditions are for a 200")
		})
	}
}

func TestIfRange(t *testing.T) {
	strong := []string{"Date: " + httpDate(0), `ETag: "a"`, "Last-Modified: " + httpDate(-time.Hour)}
	young := []string{"Date: " + httpDate(0), "Last-Modified: " + httpDate(0)}
	tests := []struct {
		name      string
		condition string
		stored    []string
		want      bool
	}{
		{"none", "", strong, true},
		{"tag", `"a"`, strong, true},
		{"other tag", `"b"`, strong, false},
		{"weak", `W/"a"`, strong, false},
		{"weak stored", `"a"`, []string{`ETag: W/"a"`}, false},
		{"date", httpDate(-time.Hour), strong, true},
		{"later date", httpDate(0), strong, false},
		{"weak date", httpDate(0), young, false},
		{"no date", "foo", strong, false},
		{"nothing stored", httpDate(0), nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := http.Header{}
			if tt.condition != "" {
				req.Set("If-Range", tt.condition)
			}
			require.Equal(t, tt.want, IfRange(req, header(tt.stored...)))
		})
	}
}

func FuzzETagList(f *testing.F) {
	f.Add(`"a", W/"b"`, `"a"`)
	f.Add(`foo"`, `W/"x,y"`)
	f.Fuzz(func(t *testing.T, list, stored string) {
		weak := listMatches([]string{list}, stored, false)
		if listMatches([]string{list}, stored, true) {
			require.True(t, weak, "what matches strongly matches weakly")
		}
		if _, ok := parseETag(stored); ok {
			require.True(t, listMatches([]string{list, stored}, stored, false))
			require.True(t, ETagWeakMatch(stored, stored))
		} else if strings.Trim(list, " \t") != "*" {
			require.False(t, weak)
		}
	})
}
