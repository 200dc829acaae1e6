package object

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// The classes must be those of the Go version in use, which append shows.
func TestSizeClassesAreThoseOfTheRuntime(t *testing.T) {
	for n := 1; n <= FlatLimit; n++ {
		if want := int64(cap(append([]byte(nil), make([]byte, n)...))); sizeClass(int64(n)) != want {
			t.Fatalf("%d bytes take %d, not %d", n, want, sizeClass(int64(n)))
		}
	}
	for _, n := range []int{FlatLimit + 1, 40 << 10, 40<<10 + 1, 1<<20 - 5, 8 << 20} {
		require.Equal(t, int64(cap(append([]byte(nil), make([]byte, n)...))), sizeClass(int64(n)), "%d", n)
	}
	require.Zero(t, sizeClass(0))
}

func TestWeightCountsWhatIsHeld(t *testing.T) {
	header := http.Header{"Content-Type": {"text/plain"}}
	empty := New(&Spec{Key: "k", Header: header}, nil).Weight()
	flat := New(&Spec{Key: "k", Header: header}, [][]byte{make([]byte, 1000)}).Weight()
	require.Equal(t, sizeClass(1000+14)-sizeClass(14), flat-empty)

	// The room behind a chunk is held as well.
	chunks := [][]byte{make([]byte, 20<<10, 64<<10), make([]byte, 20<<10, 64<<10)}
	large := New(&Spec{Key: "k", Header: header}, chunks)
	require.Equal(t, int64(128<<10)+sizeClass(40)+sizeClass(2*24), large.Weight()-empty)
	require.Equal(t, large.Weight(), large.WithUpdated(header, large.Freshness(), nil, 1).Weight())
}

func TestObjectIsSmall(t *testing.T) {
	require.LessOrEqual(t, structWeight, int64(128))
}
