package object

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// bodies returns objects with the same kinds of content as one slice, as
// chunks of odd sizes, and without any.
func bodies() map[string]*Object {
	random := make([]byte, 100_000)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	chunks := [][]byte{{}, random[:1], random[1:40_000], {}, {}, random[40_000:99_999], random[99_999:], {}}
	return map[string]*Object{
		"empty":   New(&Spec{Key: "k"}, nil),
		"flat":    New(&Spec{Key: "k"}, [][]byte{random[:1000]}),
		"chunked": New(&Spec{Key: "k"}, chunks),
	}
}

func TestReader(t *testing.T) {
	for name, o := range bodies() {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, iotest.TestReader(o.NewReader(0), whole(o)))
		})
	}
}

func TestReaderStartsAtOffset(t *testing.T) {
	for name, o := range bodies() {
		want := whole(o)
		for _, off := range []int64{-5, 0, 1, 999, 1000, 39_999, 40_000, 99_999, 100_000, 100_001} {
			from := min(max(off, 0), o.Len())
			got, err := io.ReadAll(o.NewReader(off))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want[from:], got), "%s from %d", name, off)

			var b bytes.Buffer
			r := o.NewReader(off)
			n, err := r.WriteTo(&b)
			require.NoError(t, err)
			require.Equal(t, o.Len()-from, n)
			require.True(t, bytes.Equal(want[from:], b.Bytes()), "%s from %d", name, off)
			n, err = r.WriteTo(&b)
			require.NoError(t, err)
			require.Zero(t, n)
		}
	}
}

func TestReaderSeek(t *testing.T) {
	o := bodies()["chunked"]
	r := o.NewReader(0)
	for _, c := range []struct {
		offset int64
		whence int
		want   int64
		err    error
	}{
		{40_001, io.SeekStart, 40_001, nil},
		{-2, io.SeekCurrent, 39_999, nil},
		{-1, io.SeekEnd, 99_999, nil},
		{-100_001, io.SeekEnd, 0, errSeek},
		{0, 3, 0, errWhence},
	} {
		got, err := r.Seek(c.offset, c.whence)
		require.Equal(t, c.err, err)
		require.Equal(t, c.want, got)
	}
	b, err := io.ReadAll(r)
	require.NoError(t, err, "a failed seek does not move")
	require.Len(t, b, 1)
	_, err = r.Seek(5, io.SeekEnd)
	require.NoError(t, err)
	_, err = r.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

// limitedWriter takes n bytes and then fails, or, without an error, lies.
type limitedWriter struct {
	n   int
	err error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.n)
	w.n -= n
	if n < len(p) {
		return n, w.err
	}
	return n, nil
}

func TestWriteToStopsAtErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct{ err, want error }{{broken, broken}, {nil, io.ErrShortWrite}} {
		o := bodies()["chunked"]
		r := o.NewReader(0)
		n, err := r.WriteTo(&limitedWriter{n: 50_000, err: c.err})
		require.Equal(t, c.want, err)
		require.Equal(t, int64(50_000), n)
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, bytes.Equal(whole(o)[50_000:], rest), "the reader stands where the writer stopped")
	}
}
