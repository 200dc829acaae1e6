package harness

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseMetrics(t *testing.T) {
	got := parseMetrics(`# HELP a_total Things.
# TYPE a_total counter
a_total{path="/x y",result="hit"} 12
a_total{result="miss"} 1.5e+06

b_seconds_bucket{le="+Inf"} 3
c NaN-ish
`)
	require.Equal(t, map[string]float64{
		`a_total{path="/x y",result="hit"}`: 12,
		`a_total{result="miss"}`:            1.5e6,
		`b_seconds_bucket{le="+Inf"}`:       3,
	}, got)
}

func FuzzParseMetrics(f *testing.F) {
	f.Add(`a{b="c d"}`, 1.5)
	f.Add("plain", -2.5e-7)
	f.Fuzz(func(t *testing.T, series string, value float64) {
		if strings.ContainsAny(series, "\n\r") || series != strings.TrimSpace(series) ||
			series == "" || series[0] == '#' || value != value {
			t.Skip("not a series")
		}
		line := series + " " + strconv.FormatFloat(value, 'g', -1, 64) + "\n"
		require.Equal(t, map[string]float64{series: value}, parseMetrics("# HELP x y\n"+line))
	})
}

func TestAdminAndMetricsOfARunningEdge(t *testing.T) {
	e := Start(t, `
		{
			metrics
		}
		{{http "site"}} {
			respond ok
		}
	`)
	e.Get(H1, e.URL("site"))
	e.Get(H1, e.URL("site"))

	status, body := e.Admin(http.MethodGet, "/config/apps/http/servers/srv0/listen", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, string(body), strings.TrimPrefix(e.URL("site"), "http://"))

	status, _ = e.Admin(http.MethodPut, "/config/apps/http/servers/srv0/max_header_bytes", 4096)
	require.Equal(t, http.StatusOK, status)

	total := 0.0
	for series, value := range e.Metrics() {
		if strings.HasPrefix(series, "caddy_admin_http_requests_total{") && strings.Contains(series, `path="/config/"`) {
			total += value
		}
	}
	require.InDelta(t, 2, total, 0)
}
