package edgelimit

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// TestLatencyIsTold: the quantiles of the last window are in the status and in the
// metrics, each as itself.
func TestLatencyIsTold(t *testing.T) {
	for name, config := range map[string]string{
		"inflight": `{"name": "quantiles-inflight"}`,
		"rate":     `{"name": "quantiles-rate", "mode": "rate", "rate": {"interval": "2s"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, _, cleanup := newAdaptive(t, config)
				defer cleanup()
				latency := time.Duration(0)
				g.origin = func(w http.ResponseWriter, _ *http.Request) error {
					time.Sleep(latency)
					w.WriteHeader(http.StatusOK)
					return nil
				}
				for _, of := range []struct {
					requests int
					latency  time.Duration
				}{{12, 20 * time.Millisecond}, {7, 100 * time.Millisecond}, {1, 400 * time.Millisecond}} {
					latency = of.latency
					g.codes(of.requests, "192.0.2.1", "http://a/")
				}
				time.Sleep(2 * time.Second)

				w := httptest.NewRecorder()
				require.NoError(t, serveAdaptive(w, nil))
				var reply struct {
					Limits []map[string]any `json:"limits"`
				}
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &reply))
				require.Len(t, reply.Limits, 1)
				for field, want := range map[string]float64{"p50_ms": 20, "p95_ms": 100, "p99_ms": 400} {
					require.InEpsilon(t, want, reply.Limits[0][field], 0.07, field)
				}

				registry := prometheus.NewRegistry()
				require.NoError(t, registry.Register(adaptiveCollector{}))
				families, err := registry.Gather()
				require.NoError(t, err)
				told := map[string]float64{}
				for _, f := range families {
					if f.GetName() != "caddy_edge_adaptive_latency_seconds" {
						continue
					}
					for _, m := range f.GetMetric() {
						for _, l := range m.GetLabel() {
							if l.GetName() == "quantile" {
								told[l.GetValue()] = m.GetGauge().GetValue()
							}
						}
					}
				}
				require.Len(t, told, 3)
				for quantile, want := range map[string]float64{"0.5": 0.02, "0.95": 0.1, "0.99": 0.4} {
					require.InEpsilon(t, want, told[quantile], 0.07, quantile)
				}
			})
		})
	}
}
