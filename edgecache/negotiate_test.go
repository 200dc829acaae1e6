package edgecache

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNormalizeCodings(t *testing.T) {
	tests := []struct {
		in   []string
		want string
	}{
		{nil, "identity"},
		{[]string{""}, "identity"},
		{[]string{"gzip, deflate, br, zstd"}, "br, gzip, zstd"},
		{[]string{"gzip", "br"}, "br, gzip"},
		{[]string{"GZIP;q=0.5"}, "gzip"},
		{[]string{"x-gzip"}, "gzip"},
		{[]string{"gzip;q=0, br;q=0.001"}, "br"},
		{[]string{"*"}, "identity"},
		{[]string{"identity;q=0, *;q=0"}, "identity"},
		{[]string{"gzip;q=broken"}, "identity"},
		{[]string{"br, gzip, zstd"}, "br, gzip, zstd"},
		{[]string{"zstd"}, "zstd"},
	}
	for _, tt := range tests {
		h := http.Header{}
		if tt.in != nil {
			h["Accept-Encoding"] = tt.in
		}
		(&Handler{}).normalize(h)
		require.Equal(t, http.Header{"Accept-Encoding": {tt.want}}, h, "%q", tt.in)
	}
}

func TestQuality(t *testing.T) {
	tests := []struct {
		params string
		want   float64
	}{
		{"", 1}, {"q=1", 1}, {" Q = 0.5 ", 0.5}, {"a=b; q=0.25", 0.25}, {"q=0", 0}, {"q=2", 0}, {"q=-1", 0},
		{"q=NaN", 0}, {"q=", 0}, {"q", 1}, {"level=1", 1},
	}
	for _, tt := range tests {
		require.InDelta(t, tt.want, quality(tt.params), 0, "%q", tt.params)
	}
}

// slowQuality reads the weight of a list member by the grammar of RFC 9110
// section 12.4.2; known is false where the grammar gives none.
func slowQuality(member string) (q float64, known bool) {
	parts := strings.Split(member, ";")
	for _, p := range parts[1:] {
		name, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || strings.ToLower(strings.TrimSpace(name)) != "q" {
			continue
		}
		value = strings.TrimSpace(value)
		if !regexp.MustCompile(`^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$`).MatchString(value) {
			return 0, false
		}
		q, _ = strconv.ParseFloat(value, 64)
		return q, true
	}
	return 1, true
}

// FuzzCodings: the set of codings is what a slow reading of the grammar gives,
// and its canonical form means the same.
func FuzzCodings(f *testing.F) {
	for _, s := range []string{"gzip, br", "gzip;q=0", "br;q=1.000,zstd;Q=0.1", "*;q=0", ",;,", "x-gzip ; q=0.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		got := codingsOf([]string{field})
		canonical := codingValues[got]
		require.Equal(t, got, codingsOf([]string{canonical}))
		require.True(t, canonicalCodings[canonical])
		want := 0
		for member := range strings.SplitSeq(field, ",") {
			q, known := slowQuality(member)
			if !known {
				return
			}
			name := strings.ToLower(strings.TrimSpace(strings.Split(member, ";")[0]))
			bit := map[string]int{"br": codingBrotli, "gzip": codingGzip, "x-gzip": codingGzip, "zstd": codingZstd}[name]
			if q > 0 {
				want |= bit
			}
		}
		require.Equal(t, want, got)
	})
}

func TestNormalizeLanguage(t *testing.T) {
	h := &Handler{Languages: []string{"en", "de", "pt-BR"}}
	tests := []struct {
		in   []string
		want string
	}{
		{nil, "en"},
		{[]string{"fr"}, "en"},
		{[]string{"de-AT, en;q=0.5"}, "de"},
		{[]string{"en;q=0.5, DE;q=0.6"}, "de"},
		{[]string{"de, en"}, "en"},
		{[]string{"pt-br"}, "pt-BR"},
		{[]string{"pt"}, "en"},
		{[]string{"de;q=0"}, "en"},
		{[]string{"fr", "de;q=0.1"}, "de"},
		{[]string{"pt-BR-x-a, de;q=0.9"}, "pt-BR"},
		{[]string{"*"}, "en"},
	}
	for _, tt := range tests {
		fields := http.Header{}
		if tt.in != nil {
			fields["Accept-Language"] = tt.in
		}
		h.normalize(fields)
		require.Equal(t, []string{tt.want}, fields["Accept-Language"], "%q", tt.in)
	}
}

// FuzzLanguage: the language is the configured one that a slow look-up (RFC 4647
// section 3.4) of all that is wanted finds best.
func FuzzLanguage(f *testing.F) {
	for _, s := range []string{"de", "pt-BR-abl;q=0.7, en;q=0.7", "*", "en-;q=0", "-,--", "de;q=0.5,de;q=0.9"} {
		f.Add(s)
	}
	have := []string{"en", "de", "pt-BR"}
	f.Fuzz(func(t *testing.T, field string) {
		got := (&Handler{Languages: have}).language([]string{field})
		require.Contains(t, have, got)
		quality := make([]float64, len(have))
		for member := range strings.SplitSeq(field, ",") {
			q, known := slowQuality(member)
			if !known {
				return
			}
			subtags := strings.Split(strings.TrimSpace(strings.Split(member, ";")[0]), "-")
			for n := len(subtags); n > 0; n-- {
				tag := strings.Join(subtags[:n], "-")
				i := slices.IndexFunc(have, func(l string) bool { return strings.EqualFold(l, tag) })
				if i >= 0 {
					quality[i] = max(quality[i], q)
					break
				}
			}
		}
		require.Equal(t, have[slices.Index(quality, slices.Max(quality))], got)
	})
}

func TestQualityIsStrict(t *testing.T) {
	for params, want := range map[string]float64{
		"": 1, "q=1": 1, "q=1.000": 1, "q=0": 0, "q=0.5": 0.5, " Q = 0.125": 0.125, "level=1;q=0.2": 0.2,
		"q=1.5": 0, "q=1e-5": 0, "q=0x1p-2": 0, "q=-1": 0, "q=.5": 0, "q=0.1234": 0, "q=nan": 0, "q=": 0, "q=0.+1": 0,
	} {
		require.InDelta(t, want, quality(params), 0, params)
	}
}
