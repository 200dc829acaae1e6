package rfc9111

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseDate(t *testing.T) {
	want := time.Date(2050, time.August, 18, 2, 1, 18, 0, time.UTC)
	accepted := map[string]time.Time{
		"Thu, 18 Aug 2050 02:01:18 GMT":    want,
		"THU, 18 AUG 2050 02:01:18 gMT":    want,
		"Mon, 18 Aug 2050 02:01:18 GMT":    want,
		"Thursday, 18-Aug-50 02:01:18 GMT": want,
		"THURSDAY, 18-aUG-50 02:01:18 gmt": want,
		"Thu Aug 18 02:01:18 2050":         want,
		"Thu Aug  8 02:01:18 2050":         want.AddDate(0, 0, -10),
		"Tue, 19 Jan 2038 14:14:08 GMT":    time.Date(2038, time.January, 19, 14, 14, 8, 0, time.UTC),
		"Sun, 21 Nov 2286 04:46:39 GMT":    time.Date(2286, time.November, 21, 4, 46, 39, 0, time.UTC),
		"Sunday, 06-Nov-94 08:49:37 GMT":   time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC),
		"Sat, 31 Dec 2016 23:59:60 GMT":    time.Date(2017, time.January, 1, 0, 0, 0, 0, time.UTC),
		"Thu, 29 Feb 2024 00:00:00 GMT":    time.Date(2024, time.February, 29, 0, 0, 0, 0, time.UTC),
	}
	for s, want := range accepted {
		got, ok := ParseDate(s)
		require.True(t, ok, s)
		require.True(t, want.Equal(got), "%s gave %s", s, got)
	}
	refused := []string{
		"", "0", "-1", "foo", "3600",
		"Thu, 18 Aug 2050 02:01:18 UTC",
		"Thu, 18 Aug 2050 02:01:18 AEST",
		"Thu, 18 Aug 50 02:01:18 GMT",
		"Thu 18 Aug 2050 02:01:18 GMT",
		"Thu, 18  Aug  2050 02:01:18 GMT",
		"Thu, 18-Aug-2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 02.01.18 GMT",
		"Thu, 18 Aug 2050 2:01:18 GMT",
		"Thu, 8 Aug 2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 02:01:18.5 GMT",
		"Thu, 18 Aug 2050 02:01:18 GMT ",
		"Thu, 18 Aug 2050 02:01:18",
		"Xxx, 18 Aug 2050 02:01:18 GMT",
		"Thu, 18 Xxx 2050 02:01:18 GMT",
		"Thu, 30 Feb 2050 02:01:18 GMT",
		"Thu, 00 Aug 2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 24:01:18 GMT",
		"Thu, 18 Aug 2050 02:60:18 GMT",
		"Thu, 18 Aug 2050 02:01:61 GMT",
		"Thu, -1 Aug 2050 02:01:18 GMT",
		"Thu, 18 Aug 2x50 02:01:18 GMT",
		"Thu, 18-Aug-50 02:01:18 GMT",
		"Thursday, 18-Aug-50 02:01:18 UTC",
		"Thursday, x8-Aug-50 02:01:18 GMT",
		"Thursday, 18 Aug 50 02:01:18 GMT",
		"Xhursday, 18-Aug-50 02:01:18 GMT",
		"Thu Aug 8 02:01:18 2050",
		"Thu Aug xx 02:01:18 2050",
		"Thu Aug  8 02:01:18 x050",
		"Thu Aug  8 02:01:18 2050 GMT",
	}
	for _, s := range refused {
		_, ok := ParseDate(s)
		require.False(t, ok, s)
	}
}

func TestTwoDigitYear(t *testing.T) {
	tests := []struct{ now, yy, want int }{
		{2026, 26, 2026}, {2026, 76, 2076}, {2026, 77, 1977}, {2026, 94, 1994}, {2026, 0, 2000},
		{2090, 10, 2110}, {2090, 41, 2041}, {2090, 40, 2140},
	}
	for _, tt := range tests {
		now := time.Date(tt.now, time.June, 1, 0, 0, 0, 0, time.UTC)
		s := "Monday, 01-Jan-" + time.Date(2000+tt.yy, 1, 1, 0, 0, 0, 0, time.UTC).Format("06") + " 00:00:00 GMT"
		got, ok := ParseDateAt(s, now)
		require.True(t, ok, s)
		require.Equal(t, tt.want, got.Year(), "%s in %d", s, tt.now)
	}
}

func TestDateField(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	date := "Thu, 18 Aug 2050 02:01:18 GMT"
	_, ok := dateField(nil, now)
	require.False(t, ok)
	_, ok = dateField([]string{" " + date}, now)
	require.True(t, ok)
	_, ok = dateField([]string{date, date}, now)
	require.True(t, ok, "a repeated line says the same")
	_, ok = dateField([]string{date, "Thu, 18 Aug 2050 02:01:19 GMT"}, now)
	require.False(t, ok)
}

func FuzzDate(f *testing.F) {
	f.Add("Thu, 18 Aug 2050 02:01:18 GMT")
	f.Add("Thursday, 18-Aug-50 02:01:18 GMT")
	f.Add("Thu Aug  8 02:01:18 2050")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseDate(s)
		std, err := http.ParseTime(s)
		if ok && err == nil {
			require.True(t, got.Equal(std), "%q: %s and %s", s, got, std)
		}
		if err == nil {
			// What net/http accepts in its exact form is accepted here.
			for _, layout := range []string{http.TimeFormat, time.RFC850, time.ANSIC} {
				if std.UTC().Format(layout) == strings.Replace(s, "GMT", "UTC", 1) || std.UTC().Format(layout) == s {
					require.Equal(t, strings.Contains(s, "GMT") || layout == time.ANSIC, ok, s)
				}
			}
		}
		if !ok {
			return
		}
		again, ok := ParseDate(got.Format(http.TimeFormat))
		require.True(t, ok)
		require.True(t, again.Equal(got))
		at, ok := ParseDateAt(s, got)
		require.True(t, ok)
		require.Zero(t, (at.Year()-got.Year())%100)
	})
}
