package edgelimit

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]struct {
		rate  Rate
		form  string
		burst int
	}{
		"100/s":  {Rate{100, time.Second}, "100/s", 200},
		"5/m":    {Rate{5, time.Minute}, "5/m", 5},
		"1/h":    {Rate{1, time.Hour}, "1/h", 1},
		"9/d":    {Rate{9, 24 * time.Hour}, "9/d", 9},
		"30/10s": {Rate{30, 10 * time.Second}, "30/10s", 30},
		"3/1m":   {Rate{3, time.Minute}, "3/m", 3},
		"5/15m":  {Rate{5, 15 * time.Minute}, "5/15m", 5},
		"5/2h":   {Rate{5, 2 * time.Hour}, "5/2h", 5},
		"5/48h":  {Rate{5, 48 * time.Hour}, "5/2d", 5},
		"5/36h":  {Rate{5, 36 * time.Hour}, "5/36h", 5},
		"7/50ms": {Rate{7, 50 * time.Millisecond}, "7/50ms", 14},
	} {
		got, err := ParseRate(text)
		require.NoError(t, err, text)
		require.Equal(t, want.rate, got)
		require.Equal(t, want.form, got.String())
		require.Equal(t, want.burst, got.burst())
	}
	for text, want := range map[string]string{
		"": "want a number and a time", "100": "want a number and a time", "x/s": "want a number and a time", "1.5/s": "want a number and a time",
		"0/s": "must be at least 1", "-1/s": "must be at least 1", "1/": `invalid time ""`, "1/x": `invalid time "x"`, "1/0s": `invalid time "0s"`,
		"1/-5s": `invalid time "-5s"`,
	} {
		_, err := ParseRate(text)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, `"`+text+`"`)
	}
}

func TestRateInJSON(t *testing.T) {
	var z Zone
	require.NoError(t, json.Unmarshal([]byte(`{"rate": "5/m"}`), &z))
	require.Equal(t, Rate{5, time.Minute}, z.Rate)
	text, err := json.Marshal(z)
	require.NoError(t, err)
	require.JSONEq(t, `{"rate": "5/m"}`, string(text))
	require.ErrorContains(t, json.Unmarshal([]byte(`{"rate": "0/m"}`), &z), "must be at least 1")
	require.NoError(t, json.Unmarshal([]byte(`{"rate": ""}`), &z))
	require.Equal(t, Rate{}, z.Rate)
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"100/s", "5/m", "30/10s", "1/1h30m", "0/s", "9223372036854775807/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRate(s)
		if err != nil {
			return
		}
		again, err := ParseRate(r.String())
		if err != nil || again != r || r.N < 1 || r.Per <= 0 {
			t.Fatalf("%q is %+v, whose form %q is %+v, %v", s, r, r.String(), again, err)
		}
	})
}
