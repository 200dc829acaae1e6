package harness

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseMemory(t *testing.T) {
	m, err := parseMemory("Name:\tcaddy\nVmPeak:\t  999 kB\nVmHWM:\t   20 kB\nVmRSS:\t   10 kB\n")
	require.NoError(t, err)
	require.Equal(t, Memory{Resident: 10 << 10, Peak: 20 << 10}, m)
	for _, text := range []string{"", "VmRSS:\t10 kB\n", "VmHWM:\t1 kB\nVmRSS:\tmany kB\n"} {
		_, err := parseMemory(text)
		require.Error(t, err, text)
	}
}
