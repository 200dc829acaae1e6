package caddyfile_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"

	_ "github.com/caddyedge/caddy-edge"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// dashes part the Caddyfile of a golden file from what is expected of it.
const dashes = "----------\n"

// TestAdapt holds the JSON, or the error, that each Caddyfile in testdata/adapt
// is adapted to.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			text, want, ok := strings.Cut(string(content), dashes)
			require.True(t, ok, "no line of dashes in %s", file)
			got := adaptToText(t, text)
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(text+dashes+got), 0o600))
				return
			}
			require.Equal(t, want, got)
		})
	}
}

// adaptToText returns the indented JSON of a Caddyfile, or the error's text.
func adaptToText(t *testing.T, text string) string {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error() + "\n"
	}
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, config, "", "\t"))
	return indented.String() + "\n"
}
