package harness

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRenderKeepsPortsAndVars(t *testing.T) {
	x := newText(t, "/data")
	first, err := x.render(`{{http "a"}} {{port "a"}} {{dir}} {{.v}}`, []Vars{{"v": "one"}})
	require.NoError(t, err)
	port := x.port["a"]
	require.Equal(t, withGlobals(fmt.Sprintf("http://127.0.0.1:%d %d /data one", port, port)), first)

	second, err := x.render(`{{https "b"}} {{.v}} {{port "a"}}`, nil)
	require.NoError(t, err)
	require.Equal(t, withGlobals(fmt.Sprintf("https://localhost:%d one %d", x.port["b"], port)), second)
	require.Equal(t, map[string]string{"b": x.urls["b"]}, x.used)
	require.Len(t, x.urls, 2)
	require.NotEqual(t, x.port["a"], x.port["b"])
}

func TestRenderRefusesWhatItCannotFill(t *testing.T) {
	x := newText(t, "/data")
	for _, bad := range []string{`{{.missing}}`, `{{nosuch "a"}}`, `{{`} {
		_, err := x.render(bad, nil)
		require.ErrorContains(t, err, "the Caddyfile template", bad)
	}
}

func TestWithGlobals(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"empty":          {"", "{" + globals + "}\n"},
		"no block":       {"\n:80 {\n}\n", "{" + globals + "}\n\n:80 {\n}\n"},
		"block":          {"{\n\tdebug\n}\n:80\n", "{" + globals + "\tdebug\n}\n:80\n"},
		"indented block": {"\n\t{\n\t\tdebug\n\t}\n", "\n{" + globals + "\t\tdebug\n\t}\n"},
		"comment first":  {"# note\n{\n}\n", "# note\n{" + globals + "}\n"},
		"later brace":    {":80\n{\n}\n", "{" + globals + "}\n:80\n{\n}\n"},
		"comment only":   {"# note", "{" + globals + "}\n# note"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, withGlobals(tt.in)) })
	}
}

func FuzzWithGlobals(f *testing.F) {
	for _, seed := range []string{"", "{\n}\n", "# a\n\n{\ndebug\n}\n:80", ":80 {\n}\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := withGlobals(in)
		if strings.Count(out, globals) != strings.Count(in, globals)+1 {
			t.Fatalf("globals are not there exactly once more: %q", out)
		}
		// Taking the globals away leaves every word of the input.
		without := strings.Replace(out, globals, "\n", 1)
		rest := strings.Fields(strings.TrimPrefix(without, "{\n}\n"))
		if want := strings.Fields(in); strings.Join(rest, " ") != strings.Join(want, " ") &&
			strings.Join(strings.Fields(without), " ") != strings.Join(want, " ") {
			t.Fatalf("text changed from %q to %q", in, out)
		}
	})
}
