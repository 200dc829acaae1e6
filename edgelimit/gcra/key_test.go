package gcra

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeys(t *testing.T) {
	require.Equal(t, Hash([]byte("192.0.2.1")), HashString("192.0.2.1"))
	require.NotEqual(t, HashString("192.0.2.1"), HashString("192.0.2.2"))
	k := HashString("192.0.2.1")
	require.NotEqual(t, k.set, k.print, "the halves have seeds of their own")
	require.Equal(t, k, k.With(0))
	require.Equal(t, k.With(3), k.With(1).With(2))
}

func TestLevelsNeverShareFingerprint(t *testing.T) {
	for _, k := range []Key{{}, HashString("192.0.2.1")} {
		seen := map[uint64]bool{}
		for level := range uint64(1 << 16) {
			seen[k.With(level).fingerprint()] = true
		}
		seen[k.With(1<<32-1).fingerprint()] = true
		require.Len(t, seen, 1<<16+1)
	}
}

func TestFingerprintIsNeverZero(t *testing.T) {
	require.EqualValues(t, 1, Key{print: genMask}.fingerprint())
	require.EqualValues(t, 1<<48-1, Key{print: 1<<64 - 1}.fingerprint())
}
