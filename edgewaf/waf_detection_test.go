//go:build !race

package edgewaf

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The corpora are those of the package rules: a case is a request, or a text that is put
// into each place where it can be. In those of attacks the rule of the pack basic that must
// find it stands in front.
func detectionCorpus(t *testing.T, name string) (cases []string) {
	text, err := os.ReadFile(filepath.Join("rules", "testdata", name))
	require.NoError(t, err)
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		var lines []string
		for line := range strings.SplitSeq(strings.Trim(part, "\n"), "\n") {
			if !strings.HasPrefix(line, "##") && !strings.HasPrefix(line, "=> ") {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			cases = append(cases, strings.Join(lines, "\n"))
		}
	}
	return cases
}

// detectionRequest makes a request of a case, with the fields of a browser where the case
// has none of its own. It returns nil for what Go's server refuses by itself.
func detectionRequest(text string) *http.Request {
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	method, target, ok := strings.Cut(lines[0], " ")
	if !ok || strings.ToUpper(method) != method {
		method, target = http.MethodGet, lines[0]
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	r := browse(method, "/", body)
	r.URL, r.RequestURI, r.Host = u, target, "www.example.com"
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if name == "Host" {
			r.Host = strings.TrimSpace(value)
			continue
		}
		r.Header.Set(name, strings.TrimSpace(value))
	}
	return r
}

// detectionPlaces are requests with a text in each place where it can be.
func detectionPlaces(text string) []string {
	json := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(text)
	return []string{
		"/search?lang=en&q=" + url.QueryEscape(text) + "&page=1",
		"POST /comments\nContent-Type: application/x-www-form-urlencoded\n\ntitle=x&text=" + url.QueryEscape(text) + "&page=1",
		"POST /comments\nContent-Type: application/json\n\n{\"title\": \"x\", \"text\": \"" + json + "\", \"page\": 1}",
		"POST /comments\nContent-Type: text/plain\n\n" + text,
	}
}

// everyday are texts that people write, a line each.
func everyday(t *testing.T) []string {
	text, err := os.ReadFile(filepath.Join("testdata", "everyday_texts.txt"))
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// TestDetectionRates tells how much the firewall finds, and how much it takes for what it is
// not. The figures are in docs/edge_waf.md.
func TestDetectionRates(t *testing.T) {
	places := func(texts []string) (all []string) {
		for _, text := range texts {
			all = append(all, detectionPlaces(text)...)
		}
		return all
	}
	type corpus struct {
		name   string
		attack bool
		cases  []string
	}
	corpora := []corpus{
		{"attacks", true, append(places(detectionCorpus(t, "attack_texts.txt")), detectionCorpus(t, "attack_requests.txt")...)},
		{"everyday texts", false, places(everyday(t))},
		{"ordinary requests", false, detectionCorpus(t, "ordinary_requests.txt")},
		{"texts that look like attacks", false, places(detectionCorpus(t, "ordinary_texts.txt"))},
	}
	for _, test := range []struct {
		name, options string
		least         []float64 // percent of each corpus that are decided rightly
	}{
		{"default", ``, []float64{99, 99, 80, 54}},
		{"pack basic alone", `"crs": {"off": true}`, []float64{84, 100, 100, 100}},
		{"CRS alone", `"basic": "off"`, []float64{75, 99, 80, 54}},
		{"paranoia 2", `"crs": {"paranoia": 2}`, []float64{99, 0, 0, 0}},
	} {
		g := newWafRig(t, test.options)
		for n, c := range corpora {
			right, all := 0, 0
			for _, text := range c.cases {
				r := detectionRequest(text)
				if r == nil {
					continue
				}
				all++
				w := g.do(r)
				if blocked := w.Code == http.StatusForbidden; blocked == c.attack {
					right++
				} else if test.options == "" && testing.Verbose() {
					t.Logf("blocked=%v: %q %s", blocked, text, w.Body)
				}
			}
			kind := "true negatives"
			if c.attack {
				kind = "true positives"
			}
			rate := 100 * float64(right) / float64(all)
			t.Logf("%s, %s: %s %d of %d (%.1f %%)", test.name, c.name, kind, right, all, rate)
			require.Greater(t, all, 50)
			require.GreaterOrEqual(t, rate, test.least[n])
		}
	}
}
