package crs

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// stockResults names the file to which a process that has Coraza's own operator writes
// what it finds. The registry is process-wide, and knows no way back.
const stockResults = "EDGE_TEST_STOCK_RESULTS"

// compareToStock runs steps with our operator here, and with Coraza's own in another
// process, which runs the same test. The results must be the same. Where Coraza goes
// through collections in random order, ours must be so in one of some attempts.
func compareToStock(t *testing.T, prepare func(t *testing.T) (steps []func() string)) {
	t.Helper()
	if file := os.Getenv(stockResults); file != "" {
		var results []string
		for _, step := range prepare(t) {
			results = append(results, step())
		}
		out, err := json.Marshal(results)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, out, 0o600))
		return
	}
	file := filepath.Join(t.TempDir(), "stock.json")
	args := []string{"-test.run=^" + t.Name() + "$"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	stock := exec.CommandContext(t.Context(), os.Args[0], args...)
	stock.Env = append(os.Environ(), stockResults+"="+file)
	output, err := stock.CombinedOutput()
	require.NoError(t, err, "%s", output)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var want []string
	require.NoError(t, json.Unmarshal(text, &want))

	RegisterOperator()
	steps := prepare(t)
	require.Len(t, steps, len(want))
	again := 0
	for i, step := range steps {
		got := step()
		for n := 0; got != want[i] && n < 100; n++ {
			got = step()
			again++
		}
		require.Equal(t, want[i], got)
	}
	t.Logf("%d results, %d more attempts", len(steps), again)
}

// TestOperatorLikeStock: single expressions, with captured fields, and errors.
func TestOperatorLikeStock(t *testing.T) {
	exprs := []string{
		`a(b)?(c)`, `\xe9(b)?(c)`, `(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)`, `(.)(.)(.)(.)(.)(.)(.)(.)\xe9?`, `^b$`, `^b.c$`, `a(b`, `\xe9(`, `.`,
		`(?i)(union).*?(select)`, `é`, `\x{e9}`, `\xc3\xa9`, `(\x{1F600})|(b)`, `[^\x80-\xff]`, `\bb\b`, `(?-s).c`, `(?-m)^b`, `\\xff`, `\\\xff`,
	}
	// What decides between UTF-8 and bytes has many corners.
	parts := []string{`\xe9`, `\x{e9}`, `\x{7f}`, `\\`, `x`, `{`, `}`, `e9`, `é`, `\xc3`, `\xa9`, `b`, `\x`, `.`, `(b)`, `\.`}
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		var b strings.Builder
		for range 1 + r.IntN(4) {
			b.WriteString(parts[r.IntN(len(parts))])
		}
		exprs = append(exprs, b.String())
	}
	values := []string{"", "b", "xacx", "x\xe9cx", "a\nb\nc", "abcdefghij", "é", "\xe9", "\xe9b", "😀", "1 UNION all SELECT", `\xff`, "\\\xff", "\xc3", "\xe9\xe9", "x{e9}"}
	compareToStock(t, func(t *testing.T) (steps []func() string) {
		for _, expr := range exprs {
			waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(
				fmt.Sprintf(`SecRuleEngine On
					SecRule ARGS_GET:x "@rx %s" "id:1,phase:1,pass,nolog,capture,setvar:tx.hit=1"
					SecRule ARGS_GET:x "@rx %s" "id:2,phase:1,pass,nolog,setvar:tx.hit2=1"`, expr, expr)))
			if err != nil {
				steps = append(steps, func() string { return expr + ": error" })
				continue
			}
			for _, value := range values {
				steps = append(steps, func() string {
					tx := waf.NewTransaction()
					defer tx.Close()
					tx.AddGetRequestArgument("x", value)
					tx.ProcessRequestHeaders()
					vars := tx.(plugintypes.TransactionState).Variables().TX()
					result := fmt.Sprintf("%s in %q: %q %q", expr, value, vars.Get("hit"), vars.Get("hit2"))
					for i := range 10 {
						result += fmt.Sprintf(" %q", vars.Get(fmt.Sprint(i)))
					}
					return result
				})
			}
		}
		return steps
	})
}

// TestCoreRuleSetLikeStock: the whole rule set at paranoia level 4 on the requests of its
// own regression tests, one in 25 unless EDGE_TEST_ALL is set. What must be the same is each
// rule that matched, where, and what it says about it, which has the captured fields in it.
func TestCoreRuleSetLikeStock(t *testing.T) {
	compareToStock(t, func(t *testing.T) (steps []func() string) {
		waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(`
			SecRuleEngine DetectionOnly
			SecRequestBodyAccess On
			SecResponseBodyAccess On
			SecResponseBodyMimeType text/plain
			Include @crs-setup.conf.example
			SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level=4,setvar:tx.detection_paranoia_level=4"
			Include @owasp_crs/*.conf`))
		require.NoError(t, err)
		for i, in := range regressionInputs(t) {
			if i%25 == 0 || os.Getenv("EDGE_TEST_ALL") != "" {
				steps = append(steps, func() string { return in.run(t, waf) })
			}
		}
		return steps
	})
}

// input is a request of a regression test.
type input struct {
	name                       string
	Method, URI, Data, Version string
	Headers                    map[string]string
}

func regressionInputs(t *testing.T) (all []input) {
	t.Helper()
	type file struct {
		RuleID int `yaml:"rule_id"`
		Tests  []struct {
			ID     int `yaml:"test_id"`
			Stages []struct{ Input input }
		}
	}
	require.NoError(t, fs.WalkDir(crstests.FS, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := fs.ReadFile(crstests.FS, path)
		require.NoError(t, err)
		var f file
		require.NoError(t, yaml.Unmarshal(text, &f), path)
		for _, test := range f.Tests {
			for _, stage := range test.Stages {
				stage.Input.name = fmt.Sprintf("%d-%d", f.RuleID, test.ID)
				all = append(all, stage.Input)
			}
		}
		return nil
	}))
	require.Greater(t, len(all), 4000)
	return all
}

func (in input) run(t *testing.T, waf coraza.WAF) string {
	t.Helper()
	tx := waf.NewTransaction()
	defer tx.Close()
	tx.ProcessConnection("127.0.0.1", 1234, "127.0.0.1", 80)
	tx.ProcessURI(in.URI, in.Method, in.Version)
	for _, name := range slices.Sorted(maps.Keys(in.Headers)) {
		tx.AddRequestHeader(name, in.Headers[name])
	}
	if _, ok := in.Headers["Content-Type"]; !ok && in.Data != "" {
		tx.AddRequestHeader("Content-Type", "application/x-www-form-urlencoded")
	}
	tx.AddRequestHeader("Content-Length", fmt.Sprint(len(in.Data)))
	tx.ProcessRequestHeaders()
	_, _, err := tx.WriteRequestBody([]byte(in.Data))
	require.NoError(t, err)
	_, err = tx.ProcessRequestBody()
	require.NoError(t, err)
	// The rules on responses are tested with an origin that returns the body.
	tx.AddResponseHeader("Content-Type", "text/plain")
	tx.ProcessResponseHeaders(200, "HTTP/1.1")
	_, _, err = tx.WriteResponseBody([]byte(in.Data))
	require.NoError(t, err)
	_, err = tx.ProcessResponseBody()
	require.NoError(t, err)

	var b strings.Builder
	b.WriteString(in.name)
	for _, m := range tx.MatchedRules() {
		fmt.Fprintf(&b, "\n%d %q", m.Rule().ID(), m.Message())
		// Coraza goes through collections in no order.
		var where []string
		for _, d := range m.MatchedDatas() {
			where = append(where, fmt.Sprintf(" %s:%q %q %q", d.Variable().Name(), d.Key(), d.Value(), d.Data()))
		}
		slices.Sort(where)
		b.WriteString(strings.Join(where, ""))
	}
	return b.String()
}
