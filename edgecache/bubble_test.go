package edgecache

import (
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// checkInBubble runs a property on fake time, each case in a bubble of its own.
// rapid stops a case by a panic, which has to leave the bubble's goroutine as a
// value.
func checkInBubble(t *testing.T, property func(rt *rapid.T)) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		var stopped any
		synctest.Test(t, func(*testing.T) {
			defer func() { stopped = recover() }()
			property(rt)
		})
		if stopped != nil {
			panic(stopped)
		}
	})
}

// pattern returns n bytes of which no two places look alike for long.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + i>>16)
	}
	return b
}
