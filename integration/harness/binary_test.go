package harness

import (
	"debug/buildinfo"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBinaryHasTheRaceDetector(t *testing.T) {
	info, err := buildinfo.ReadFile(Binary(t))
	require.NoError(t, err)
	require.True(t, slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}), "settings: %v", info.Settings)
	require.Equal(t, "github.com/caddyedge/caddy-edge/cmd/caddy", info.Path)
}

func TestRunReportsOutputAndExitCode(t *testing.T) {
	good := Run(t, "version")
	require.Equal(t, 0, good.ExitCode)
	require.NotEmpty(t, good.Stdout)

	bad := Run(t, "validate", "--config", "no-such-file")
	require.Equal(t, 1, bad.ExitCode)
	require.Contains(t, bad.Stderr, "no-such-file")
}
