package edgeapp_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

func TestBadRedisIsRefusedAtLoad(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                            "redis: no address",
		`{"addresses": ["localhost"]}`:  "redis: address 1: must be host:port",
		`{"addresses": ["localhost:"]}`: "redis: address 1: must be host:port",
		`{"addresses": ["a:1", "redis://:secret@b:1"]}`:            "redis: address 2: must be host:port",
		`{"addresses": ["a:1"], "ca": "x"}`:                        "need tls",
		`{"addresses": ["a:1"], "prefix": "{x}"}`:                  `redis: prefix "{x}"`,
		`{"addresses": ["a:1"], "db": -1}`:                         "redis: db -1",
		`{"addresses": ["a:1"], "interval": "1ms"}`:                "redis: interval 1ms",
		`{"addresses": ["a:1"], "timeout": "2m"}`:                  "redis: timeout 2m0s",
		`{"addresses": ["a:1"], "on_error": "panic"}`:              `redis: on_error "panic"`,
		`{"addresses": ["a:1"], "password": "{env.NO_SUCH_NAME}"}`: "redis: password",
	} {
		err := reloadtest.Load(t, `{"apps": {"edge": {"redis": `+config+`}}}`)
		require.ErrorContains(t, err, want, config)
		require.NotContains(t, err.Error(), "secret", config)
	}
}

func TestRedisTLS(t *testing.T) {
	c, err := (&edgeapp.Redis{}).TLSConfig()
	require.NoError(t, err)
	require.Nil(t, c)
	c, err = (&edgeapp.Redis{TLS: true, ServerName: "redis.example"}).TLSConfig()
	require.NoError(t, err)
	require.Equal(t, "redis.example", c.ServerName)
	file := filepath.Join(t.TempDir(), "ca.pem")
	_, err = (&edgeapp.Redis{TLS: true, CA: file}).TLSConfig()
	require.ErrorContains(t, err, "redis: ca: open "+file)
	require.NoError(t, os.WriteFile(file, []byte("no certificate"), 0o600))
	_, err = (&edgeapp.Redis{TLS: true, CA: file}).TLSConfig()
	require.ErrorContains(t, err, "holds no certificate")
}
