package edgebreaker

import (
	"fmt"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// series counts those of all vectors, by their label backend.
func series(t *testing.T, m *metricSet) map[string]int {
	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{m.requests, m.errors, m.duration, m.transitions, m.reinstated} {
		require.NoError(t, reg.Register(c))
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	n := make(map[string]int)
	for _, f := range families {
		for _, one := range f.GetMetric() {
			for _, l := range one.GetLabel() {
				if l.GetName() == "backend" {
					n[l.GetValue()]++
				}
			}
		}
	}
	return n
}

// TestLabelsMakeRoom: the label of a backend that no config names, and that is not used,
// makes room for another with all of its series.
func TestLabelsMakeRoom(t *testing.T) {
	m := newMetricSet()
	named, used, idle := m.hold("named"), m.of("used"), m.of("idle")
	all := series(t, m)
	require.Len(t, all, 3)
	require.Greater(t, all["idle"], 10)
	for i := range 3 * mostLabels {
		m.of(fmt.Sprint(i))
		used.touch()
	}
	require.True(t, idle.gone.Load())
	require.Nil(t, m.find("idle"))
	require.Same(t, named, m.find("named"))
	require.Same(t, used, m.find("used"))
	now := series(t, m)
	require.Len(t, now, mostLabels)
	require.Equal(t, all["used"], now["used"])
	require.NotSame(t, idle, m.of("idle"), "it comes back")

	t.Run("released", func(t *testing.T) {
		require.Same(t, named, m.hold("named"))
		m.release(named)
		for i := range 2 * mostLabels {
			m.of(fmt.Sprint("more", i))
		}
		require.Same(t, named, m.find("named"), "another config has it")
		m.release(named)
		require.Same(t, named, m.find("named"), "there is room")
		for i := range 2 * mostLabels {
			m.of(fmt.Sprint("most", i))
		}
		require.Nil(t, m.find("named"))
	})
	t.Run("all held", func(t *testing.T) {
		m := newMetricSet()
		for i := range mostLabels {
			m.hold(fmt.Sprint(i))
		}
		require.Equal(t, otherLabels, m.hold("one more").label)
		require.Same(t, m.find(otherLabels), m.of("another"))
		m.release(m.find(otherLabels))
		m.release(m.find("0"))
		require.Equal(t, "one more", m.of("one more").label)
		require.Len(t, series(t, m), mostLabels+1)
	})
}

// TestDynamicLabels: dynamic upstreams that a client may choose count together; others
// have labels of their own, which they get back when they have made room.
func TestDynamicLabels(t *testing.T) {
	a := newOrigin(t, "a")
	_, port, err := net.SplitHostPort(a.address)
	require.NoError(t, err)
	g := newRig(t)
	load := func(name, more string) {
		g.load("edge_breaker\nreverse_proxy " + more + " {\nlb_policy edge\ndynamic multi {\na {\nname " + name + "\nport " + port + "\n}\n}\n}")
	}
	load("{http.request.header.X-Name}", "127.0.0.98:1")
	before := collectors().labels.n
	requests := func(label string) int { return valueOf(countersOf(label).classes[2]) }
	counted := requests(dynamicLabel)
	for i := range 30 {
		// Nobody listens on most of them; what counts is that they are asked for.
		g.get("/", fmt.Sprintf("X-Name: 127.0.0.%d", i+1))
	}
	require.LessOrEqual(t, collectors().labels.n-before, 1)
	require.Nil(t, countersIfAny(a.address))
	require.Equal(t, counted+1, requests(dynamicLabel))
	require.NotNil(t, countersIfAny("127.0.0.98:1"), "the config names it")
	require.NotContains(t, gauges(t), a.address)

	load("127.0.0.1", "")
	require.Equal(t, 200, g.get("/").status)
	require.Equal(t, 1, requests(a.address))
	require.Equal(t, "closed", gauges(t)[a.address])
	m := collectors()
	for i := 0; m.find(a.address) != nil; i++ {
		m.of(fmt.Sprint("flood", i))
	}
	require.Equal(t, 200, g.get("/").status)
	require.Equal(t, 1, requests(a.address), "it begins anew")
}

func TestHasPlaceholder(t *testing.T) {
	for text, want := range map[string]bool{
		``: false, `{"name": "app.internal", "port": "80"}`: false, `{"sources": [{"name": "a"}]}`: false,
		`{"name": "{http.request.header.X-To}"}`: true, `{"sources": [{"versions": {}, "name": "x.{env.A}"}]}`: true,
	} {
		require.Equal(t, want, hasPlaceholder([]byte(text)), text)
	}
}
