package edgecache

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/caddyserver/caddy/v2/modules/logging"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestWarnings: what loads, but is hardly meant, is told in the log.
func TestWarnings(t *testing.T) {
	const object, past, tiny = "max_object_size is more than the memory can hold", "development lies in the past", "memory is so little"
	for name, tt := range map[string]struct {
		memory int
		cache  string
		want   []string
	}{
		"nothing":              {64 << 20, ``, nil},
		"the default size":     {2 << 20, ``, nil},
		"a size that fits":     {64 << 20, `, "max_object_size": 33554432`, nil},
		"as large as the rest": {64 << 20, `, "max_object_size": 67108864`, []string{object}},
		"larger than all":      {2 << 20, `, "max_object_size": 33554432`, []string{object}},
		"past":                 {64 << 20, `, "development_until": "2020-01-31T12:00:00Z"`, []string{past}},
		"future":               {64 << 20, `, "development_until": "2199-01-31T12:00:00Z"`, nil},
		"a unit forgotten":     {256, ``, []string{tiny}},
		"a mebibyte":           {1 << 20, ``, nil},
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			require.NoError(t, reloadtest.Load(t, `{"logging": {"logs": {"default": {"level": "WARN", "writer": {"output": "file", "filename": `+strconv.Quote(log)+`}}}},
				"apps": {"edge": {"memory": `+strconv.Itoa(tt.memory)+`}, "http": {"servers": {"s": {"listen": ["unix/`+filepath.Join(t.TempDir(), "s")+`"],
				"routes": [{"handle": [{"handler": "edge_cache"`+tt.cache+`}, {"handler": "static_response"}]}]}}}}}`))
			reloadtest.Stop(t)
			text, err := os.ReadFile(log)
			if !os.IsNotExist(err) {
				require.NoError(t, err)
			}
			for _, warning := range []string{object, past, tiny} {
				want := 0
				for _, w := range tt.want {
					if w == warning {
						want = 1
					}
				}
				require.Equal(t, want, strings.Count(string(text), warning), "%s: %s", warning, text)
			}
		})
	}
}
