package topk

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFrequentKeysAreFound(t *testing.T) {
	s := New(50)
	random := rand.New(rand.NewPCG(1, 2))
	truth := map[string]uint64{}
	for range 100_000 {
		key := fmt.Sprintf("rare %d", random.Uint32())
		if random.IntN(2) == 0 {
			key = fmt.Sprintf("frequent %d", random.IntN(10)) // 5 % of the stream each
		}
		truth[key]++
		s.Add([]byte(key))
	}
	top := s.Top(10)
	require.Len(t, top, 10)
	for _, c := range top {
		require.Contains(t, c.Key, "frequent")
		require.GreaterOrEqual(t, c.Count, truth[c.Key])
		require.LessOrEqual(t, c.Count-c.Error, truth[c.Key])
	}
	require.Len(t, s.Top(1000), 50)
}

func TestRareKeysGiveWay(t *testing.T) {
	s := New(2)
	for _, key := range []string{"a", "a", "b", "c", "c", "c"} {
		s.Add([]byte(key))
	}
	require.Equal(t, []Count{{"c", 4, 1}, {"a", 2, 0}}, s.Top(9))
}

// TestBounds: a count is between the truth and the truth and the error, and the
// counts add up to the length of the stream.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 5).Draw(rt, "size")
		s, truth := New(size), map[string]uint64{}
		stream := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"})).Draw(rt, "stream")
		for _, key := range stream {
			s.Add([]byte(key))
			truth[key]++
		}
		var sum uint64
		for _, c := range s.Top(size + 1) {
			sum += c.Count
			if c.Count < truth[c.Key] || c.Count-c.Error > truth[c.Key] {
				rt.Fatalf("%+v, but it was seen %d times", c, truth[c.Key])
			}
		}
		if sum != uint64(len(stream)) {
			rt.Fatalf("the counts add up to %d of %d", sum, len(stream))
		}
		for key, n := range truth {
			if n*uint64(size) > uint64(len(stream)) && s.entries[key] == nil {
				rt.Fatalf("%s is frequent and not there", key)
			}
		}
	})
}
