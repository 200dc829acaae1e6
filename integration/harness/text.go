package harness

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"text/template"
)

// Vars are values for the template of a Caddyfile: {{.name}}.
type Vars map[string]any

// globals are the options that every Caddyfile under test gets.
const globals = `
	skip_install_trust
	local_certs
	default_bind 127.0.0.1
	auto_https disable_redirects
`

// text renders Caddyfile templates for one edge.
type text struct {
	t    testing.TB
	dir  string
	vars Vars
	urls map[string]string // of all texts so far, by name
	used map[string]string // of the latest text, by name
	port map[string]int
}

func newText(t testing.TB, dir string) *text {
	return &text{t: t, dir: dir, vars: make(Vars), urls: make(map[string]string), port: make(map[string]int)}
}

// render returns the Caddyfile that a template stands for. Vars are kept for the
// next time.
func (x *text) render(caddyfile string, vars []Vars) (string, error) {
	for _, v := range vars {
		maps.Copy(x.vars, v)
	}
	x.used = make(map[string]string)
	parsed, err := template.New("Caddyfile").Option("missingkey=error").Funcs(template.FuncMap{
		"http":  func(name string) string { return x.url("http", "127.0.0.1", name) },
		"https": func(name string) string { return x.url("https", "localhost", name) },
		"port":  x.portOf,
		"dir":   func() string { return x.dir },
	}).Parse(caddyfile)
	if err != nil {
		return "", fmt.Errorf("parsing the Caddyfile template: %w", err)
	}
	var b strings.Builder
	if err := parsed.Execute(&b, x.vars); err != nil {
		return "", fmt.Errorf("rendering the Caddyfile template: %w", err)
	}
	return withGlobals(b.String()), nil
}

func (x *text) url(scheme, host, name string) string {
	url := fmt.Sprintf("%s://%s:%d", scheme, host, x.portOf(name))
	x.urls[name], x.used[name] = url, url
	return url
}

func (x *text) portOf(name string) int {
	if x.port[name] == 0 {
		x.port[name] = FreePort(x.t)
	}
	return x.port[name]
}

// withGlobals puts the options of the harness first into the global block, which
// is the first block of a Caddyfile and the only one without a name.
func withGlobals(caddyfile string) string {
	head, rest := "", caddyfile
	for {
		line, after, more := strings.Cut(rest, "\n")
		trimmed := strings.TrimSpace(line)
		if trimmed == "{" {
			return head + "{" + globals + after
		}
		if !more || (trimmed != "" && !strings.HasPrefix(trimmed, "#")) {
			return "{" + globals + "}\n" + caddyfile
		}
		head, rest = head+line+"\n", after
	}
}
