package edge_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgebreaker"
	"github.com/caddyedge/caddy-edge/edgecache"
	"github.com/caddyedge/caddy-edge/edgelimit"
	"github.com/caddyedge/caddy-edge/edgetunnel"
	"github.com/caddyedge/caddy-edge/edgewaf"
	"github.com/caddyedge/caddy-edge/internal/api"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// page reads a page of the documentation.
func page(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(content)
}

// fence is a block of code and the language after its first fence.
type fence struct{ language, code string }

// fences returns the blocks of code of a page.
func fences(text string) (blocks []fence) {
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, fence{m[1], m[2]})
	}
	return blocks
}

// requireText fails unless a page has a match of pattern. It does not print the
// page, as require would.
func requireText(t *testing.T, text, pattern string) {
	t.Helper()
	require.True(t, regexp.MustCompile(pattern).MatchString(text), "not documented: %s", pattern)
}

// TestReadmeShowsExamples holds the Caddyfiles of the README equal to those that
// are shipped and tested.
func TestReadmeShowsExamples(t *testing.T) {
	files, err := filepath.Glob("caddyfile/examples/*.caddyfile")
	require.NoError(t, err)
	var shipped []string
	for _, file := range files {
		shipped = append(shipped, page(t, file))
	}
	shown := 0
	for _, block := range fences(page(t, "README.md")) {
		if block.language == "caddyfile" {
			require.True(t, slices.Contains(shipped, block.code), "no example is\n%s", block.code)
			shown++
		}
	}
	require.NotZero(t, shown)
}

// TestReadmeCommands holds the commands that the README names to those that the
// script has.
func TestReadmeCommands(t *testing.T) {
	usage, err := exec.Command("bash", "xcaddy.sh", "help").Output()
	require.NoError(t, err)
	commands := regexp.MustCompile("\\| `\\./xcaddy\\.sh ([^`]*)`").FindAllStringSubmatch(page(t, "README.md"), -1)
	require.NotEmpty(t, commands)
	for _, command := range commands {
		require.Regexp(t, "(?m)^  "+regexp.QuoteMeta(command[1])+"( |$)", string(usage))
	}
}

// TestSyntaxIsDocumented holds the grammar on each page equal to that of the
// parser, and wants each option in one of the page's tables.
func TestSyntaxIsDocumented(t *testing.T) {
	for _, p := range []struct {
		page, dir, parser string
		options           int
	}{
		{"docs/edge_cache.md", "edgecache", "parseCaddyfile", 38},
		{"docs/edge_guard.md", "edgewaf", "parseGuard", 29},
		{"docs/edge_waf.md", "edgewaf", "parseFirewall", 39},
		{"docs/edge_limit.md", "edgelimit", "parseLimit", 26},
		{"docs/edge_adaptive.md", "edgelimit", "parseAdaptive", 19},
		{"docs/edge_breaker.md", "edgebreaker", "parseBreaker", 21},
		{"docs/tunnel.md", "edgetunnel", "parseTunnel", 9},
		{"docs/global.md", "caddyfile", "parseEdge", 13},
	} {
		t.Run(p.page, func(t *testing.T) {
			grammar := grammarOf(t, funcOf(t, p.dir, p.parser))
			text := page(t, p.page)
			_, shown, ok := strings.Cut(text, "\n## Syntax\n")
			require.True(t, ok)
			require.Equal(t, fence{"", grammar}, fences(shown)[0])
			options := regexp.MustCompile(`(?m)^\t+([a-z]\w*)`).FindAllStringSubmatch(grammar, -1)
			require.Len(t, options, p.options)
			for _, option := range options {
				requireText(t, tables(text), "`(query )?"+option[1]+"\\b")
			}
		})
	}
	for _, word := range []string{"sort", "none", "forward_ignored", "allow", "ignore"} {
		requireText(t, tables(page(t, "docs/edge_cache.md")), "`query "+word+"`")
	}
}

// tables returns the lines of a page that belong to tables.
func tables(text string) string {
	return strings.Join(regexp.MustCompile(`(?m)^\|.*$`).FindAllString(text, -1), "\n")
}

// grammarOf returns the indented block behind "Syntax:" in a parser's comment.
func grammarOf(t *testing.T, parser *ast.FuncDecl) string {
	t.Helper()
	_, rest, ok := strings.Cut(parser.Doc.Text(), "Syntax:\n\n")
	require.True(t, ok)
	block := regexp.MustCompile(`\A(\t.*\n|\n)*`).FindString(rest)
	return regexp.MustCompile(`(?m)^\t`).ReplaceAllString(strings.TrimRight(block, "\n")+"\n", "")
}

// funcOf returns the function with a name of the package in dir.
func funcOf(t *testing.T, dir, name string) *ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	require.NoError(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
				return f
			}
		}
	}
	require.Fail(t, "no function "+name)
	return nil
}

// TestFieldsAreDocumented wants the JSON names of each module on its page.
func TestFieldsAreDocumented(t *testing.T) {
	for _, p := range []struct {
		page   string
		module reflect.Type
		names  int
	}{
		{"docs/edge_cache.md", reflect.TypeFor[edgecache.Handler](), 30},
		{"docs/edge_guard.md", reflect.TypeFor[edgewaf.Guard](), 38},
		{"docs/edge_waf.md", reflect.TypeFor[edgewaf.Firewall](), 50},
		{"docs/edge_limit.md", reflect.TypeFor[edgelimit.Limit](), 27},
		{"docs/edge_adaptive.md", reflect.TypeFor[edgelimit.Adaptive](), 20},
		{"docs/edge_breaker.md", reflect.TypeFor[edgebreaker.Handler](), 30},
		{"docs/edge_breaker.md", reflect.TypeFor[edgebreaker.Policy](), 5},
		{"docs/tunnel.md", reflect.TypeFor[edgetunnel.Handler](), 13},
		{"docs/tunnel.md", reflect.TypeFor[edgetunnel.Upstreams](), 3},
		{"docs/tunnel.md", reflect.TypeFor[edgetunnel.Transport](), 6},
		{"docs/tunnel.md", reflect.TypeFor[edgetunnel.AgentApp](), 24},
		{"docs/global.md", reflect.TypeFor[edgeapp.App](), 13},
	} {
		names := jsonNames(p.module)
		require.GreaterOrEqual(t, len(names), p.names, p.page)
		for _, name := range names {
			requireText(t, page(t, p.page), "[`.]"+name+"`")
		}
	}
}

// jsonNames returns the names of the exported fields of t and of the structs
// below it.
func jsonNames(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "-":
			continue
		case f.Anonymous:
		case name != "":
			names = append(names, name)
		}
		if inner.Kind() == reflect.Struct {
			names = append(names, jsonNames(inner)...)
		}
	}
	return names
}

// everything is a Caddyfile that brings all metrics about.
const everything = `{
	edge {
		redis 127.0.0.1:1
	}
}

:8080 {
	edge_guard {
		deny file denied.txt
	}
	edge_limit {
		zone all 100/s {
			cluster
		}
	}
	edge_waf
	edge_cache
	edge_adaptive
	edge_breaker
	reverse_proxy 127.0.0.1:9000 {
		lb_policy edge
	}
}

:8081 {
	edge_tunnel {
		token a 666da39683540cb37664cd39bc28ca89a2d31b24804e56d99d59dc9ab3e685cb app
	}
}
`

// TestMetricsAreDocumented wants the names of the metrics of a running edge on
// their page, and no others.
func TestMetricsAreDocumented(t *testing.T) {
	list := filepath.Join(t.TempDir(), "denied.txt")
	require.NoError(t, os.WriteFile(list, []byte("# nobody\n"), 0o600))
	ctx := provision(t, "Caddyfile", strings.ReplaceAll(everything, "denied.txt", list))
	app, err := edgeapp.From(ctx)
	require.NoError(t, err)
	require.NoError(t, app.Start()) // which makes the backends known
	families, err := ctx.GetMetricsRegistry().Gather()
	require.NoError(t, err)
	var have []string
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "caddy_edge_") {
			have = append(have, family.GetName())
		}
	}
	require.Greater(t, len(have), 20)
	// Those of agents are there when there is one.
	for _, m := range regexp.MustCompile(`NewDesc\("(caddy_edge_\w+)"`).FindAllStringSubmatch(page(t, "edgetunnel/metrics.go"), -1) {
		if !slices.Contains(have, m[1]) {
			have = append(have, m[1])
		}
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(caddy_edge_\\w+)").FindAllStringSubmatch(page(t, "docs/metrics.md"), -1) {
		documented = append(documented, m[1])
	}
	require.ElementsMatch(t, have, documented)
}

// TestAdminRoutesAreDocumented wants the admin routes on their page, and no
// others.
func TestAdminRoutesAreDocumented(t *testing.T) {
	text := page(t, "docs/admin-api.md")
	var rows, headings []string
	for _, route := range api.Routes() {
		name := route.Method + " " + route.Path
		rows = append(rows, "| `"+name+"` | "+route.Role.String()+" |")
		headings = append(headings, "## "+name)
	}
	require.ElementsMatch(t, rows, regexp.MustCompile("(?m)^\\| `[A-Z]+ /[^`]*` \\| \\w+ \\|").FindAllString(text, -1))
	require.ElementsMatch(t, headings, regexp.MustCompile(`(?m)^## [A-Z]+ /.*$`).FindAllString(text, -1))
}

// TestStatsAreDocumented holds the names in the reply that the page of the admin
// API shows to those of a real one.
func TestStatsAreDocumented(t *testing.T) {
	provision(t, "minimal.caddyfile", page(t, "caddyfile/examples/minimal.caddyfile"))
	recorder := httptest.NewRecorder()
	require.NoError(t, api.Handler("/edge/cache/stats").ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/edge/cache/stats", nil)))

	_, section, ok := strings.Cut(page(t, "docs/admin-api.md"), "## GET /edge/cache/stats\n")
	require.True(t, ok)
	require.Equal(t, names(t, recorder.Body.String()), names(t, fences(section)[0].code))
}

// names returns a JSON object with its values taken out.
func names(t *testing.T, text string) any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	var strip func(v any) any
	strip = func(v any) any {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		for name, value := range object {
			object[name] = strip(value)
		}
		return object
	}
	return strip(v)
}
