package crs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNestedPatterns: a file that comes to fit a pattern in a file makes another rule set.
func TestNestedPatterns(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "main.conf")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "rules.d"), 0o700))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	rule := func(id, word string) string {
		return `SecRule ARGS "@streq ` + word + `" "id:` + id + `,phase:2,deny,status:403"` + "\n"
	}
	for _, include := range []string{"rules.d/*.conf", dir + "/rules.d/*.conf", `"rules.d/*.conf"`} {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "rules.d", "b.conf")))
		write("main.conf", "Include "+include+"\n")
		write("rules.d/a.conf", rule("1001", "a"))
		options := Options{Off: true, Include: []string{main}}
		before := compiled(t, options)
		require.Len(t, chosenRules(before, 1001, 1002), 1, include)
		require.NoError(t, options.Validate())
		plan, err := Prepare(&options, Limits{Body: 1 << 17, Response: 1 << 19, ResponseTypes: []string{"text/html"}})
		require.NoError(t, err)
		key, known := plan.Key()
		require.True(t, known)
		require.Equal(t, before.Key(), key)

		write("rules.d/b.conf", rule("1002", "b"))
		key, _ = plan.Key()
		require.NotEqual(t, before.Key(), key, include)
		after := compiled(t, options)
		key, _ = plan.Key()
		require.Equal(t, after.Key(), key)
		require.Len(t, chosenRules(after, 1001, 1002), 2, include)
	}
}

func chosenRules(e *Engine, from, to int) (ids []int) {
	for _, r := range e.Rules() {
		if r.ID >= from && r.ID <= to {
			ids = append(ids, r.ID)
		}
	}
	return ids
}
