package redistest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerIsAskedAndStartsAgain(t *testing.T) {
	r := New(t)
	addr := r.Addr()
	r.Kill() // nothing runs
	for range 2 {
		r.Start()
		require.Equal(t, addr, r.Addr())
		require.Equal(t, []string{"0"}, r.Ask("DBSIZE"), "nothing outlives the process")
		require.Equal(t, []string{"2"}, r.Ask("RPUSH", "a list", "a\r\n", ""))
		require.Equal(t, []string{"a\r\n", ""}, r.Ask("LRANGE", "a list", "0", "-1"))
		require.Equal(t, []string{""}, r.Ask("GET", "absent"))
		_, err := r.server.Ask("GET", "a list")
		require.ErrorAs(t, err, new(ReplyError))
		r.Kill()
		_, err = r.server.Ask("PING")
		require.Error(t, err)
	}
}

func TestServerWithPassword(t *testing.T) {
	r := Run(t, "--requirepass", "secret")
	_, err := r.server.Ask("DBSIZE")
	require.ErrorContains(t, err, "NOAUTH")
}

func TestServerThatDoesNotStart(t *testing.T) {
	s, err := NewServer(t.TempDir(), "--no-such-option", "1")
	require.NoError(t, err)
	require.ErrorContains(t, s.Start(t.Context()), "no-such-option", "its output")

	s, err = NewServer(t.TempDir())
	require.NoError(t, err)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Start(canceled), context.Canceled)
	require.NoError(t, s.Start(t.Context()), "the failed start left nothing behind")
	require.ErrorContains(t, s.Start(t.Context()), "runs already")
	require.NoError(t, s.Kill())
}

func TestFindProgram(t *testing.T) {
	for name, tt := range map[string]struct {
		installed []string
		want, err string
	}{
		"both":   {[]string{"valkey-server", "redis-server"}, "redis-server", ""},
		"redis":  {[]string{"redis-server"}, "redis-server", ""},
		"valkey": {[]string{"valkey-server"}, "valkey-server", ""},
		"none":   {nil, "", "install the package redis-server or valkey-server"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir)
			for _, program := range tt.installed {
				require.NoError(t, os.WriteFile(filepath.Join(dir, program), []byte("#!"), 0o755))
			}
			got, err := findProgram()
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, filepath.Join(dir, tt.want), got)
		})
	}
}
