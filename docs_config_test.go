package edge_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	caddycore "github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"

	_ "github.com/caddyedge/caddy-edge"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// adapt turns a formatted Caddyfile into JSON.
func adapt(t *testing.T, name, text string) []byte {
	t.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": name})
	require.NoError(t, err)
	require.Empty(t, warnings)
	return config
}

// provision loads a Caddyfile without starting it.
func provision(t *testing.T, name, text string) caddycore.Context {
	t.Helper()
	config := new(caddycore.Config)
	require.NoError(t, json.Unmarshal(adapt(t, name, text), config))
	ctx, err := caddycore.ProvisionContext(config)
	require.NoError(t, err)
	return ctx
}

// documentedConfigs are the pages with Caddyfiles: which part of the config the
// JSON that follows one is, and how many have and have not such JSON.
var documentedConfigs = map[string]struct {
	part        func(config any) any
	json, alone int
}{
	"docs/edge_cache.md":    {handler("edge_cache"), 3, 2},
	"docs/edge_guard.md":    {handler("edge_guard"), 2, 4},
	"docs/edge_limit.md":    {handler("edge_limit"), 4, 3},
	"docs/edge_adaptive.md": {handler("edge_adaptive"), 4, 1},
	"docs/edge_breaker.md":  {handlersWith("edge_breaker"), 2, 3},
	"docs/global.md":        {edgeOf, 2, 0},
	"docs/tunnel.md":        {nil, 0, 3},
}

// variable finds the environment variables in a Caddyfile.
var variable = regexp.MustCompile(`\{env\.(\w+)\}`)

// TestDocumentedConfigs provisions each Caddyfile in docs, has its routes checked,
// and compares it with the JSON that follows.
func TestDocumentedConfigs(t *testing.T) {
	for file, want := range documentedConfigs {
		t.Run(file, func(t *testing.T) {
			blocks := fences(page(t, file))
			rules := rulesFile(t, blocks)
			compared, alone := 0, 0
			for i, block := range blocks {
				if block.language != "caddyfile" {
					continue
				}
				text := strings.NewReplacer(append(accessFiles(t), "/etc/caddy/limits.yaml", rules)...).Replace(block.code)
				for _, m := range variable.FindAllStringSubmatch(text, -1) {
					t.Setenv(m[1], "home.secret")
				}
				app, err := edgeapp.From(provision(t, file, text))
				require.NoError(t, err)
				require.NoError(t, app.Start(), "the checks of the routes")
				if i+1 == len(blocks) || blocks[i+1].language != "json" {
					alone++
					continue
				}
				compared++
				var config, shown any
				require.NoError(t, json.Unmarshal(adapt(t, file, text), &config))
				require.NoError(t, json.Unmarshal([]byte(blocks[i+1].code), &shown))
				require.Equal(t, shown, want.part(config))
			}
			require.Equal(t, want.json, compared)
			require.Equal(t, want.alone, alone)
		})
	}
}

// edgeOf is the part of a config that belongs to the app edge.
func edgeOf(config any) any { return config.(map[string]any)["apps"].(map[string]any)["edge"] }

// handler finds the first handler of a name in a config.
func handler(name string) func(config any) any {
	return func(config any) any {
		return find(config, func(object map[string]any) bool { return object["handler"] == name })
	}
}

// handlersWith finds the list of handlers that one of a name begins.
func handlersWith(name string) func(config any) any {
	return func(config any) any {
		route := find(config, func(object map[string]any) bool {
			list, _ := object["handle"].([]any)
			return len(list) > 0 && list[0].(map[string]any)["handler"] == name
		})
		return route.(map[string]any)["handle"]
	}
}

// find returns the first object in v that match accepts.
func find(v any, match func(map[string]any) bool) any {
	switch v := v.(type) {
	case []any:
		for _, inner := range v {
			if found := find(inner, match); found != nil {
				return found
			}
		}
	case map[string]any:
		if match(v) {
			return v
		}
		for _, inner := range v {
			if found := find(inner, match); found != nil {
				return found
			}
		}
	}
	return nil
}

// link finds the relative links of a page.
var link = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)

// TestLinks follows the relative links of all pages, and their anchors.
func TestLinks(t *testing.T) {
	var pages []string
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	}))
	require.Contains(t, pages, "README.md")
	for _, from := range pages {
		for _, m := range link.FindAllStringSubmatch(page(t, from), -1) {
			to := from
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(from), filepath.FromSlash(m[1]))
			}
			_, err := os.Stat(to)
			require.NoError(t, err, "link %s in %s", m[0], from)
			if m[2] != "" {
				require.Contains(t, anchors(page(t, to)), m[2], "link %s in %s", m[0], from)
			}
		}
	}
}

// anchors returns the anchors that GitHub makes of a page's headings.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, "#"+strings.ReplaceAll(plain, " ", "-"))
	}
	return all
}
