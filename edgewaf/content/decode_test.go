package content_test

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgewaf/content"
)

// encode applies a coding; "raw" is deflate without its frame.
func encode(t testing.TB, coding string, data []byte) []byte {
	t.Helper()
	var (
		b bytes.Buffer
		w io.WriteCloser
	)
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw":
		var err error
		w, err = flate.NewWriter(&b, 5)
		require.NoError(t, err)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		var err error
		w, err = zstd.NewWriter(&b)
		require.NoError(t, err)
	}
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

var codings = map[string]string{"gzip": "gzip", "deflate": "deflate", "raw": "deflate", "br": "br", "zstd": "zstd"}

// text compresses a little.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"alpha ", "beta ", "gamma ", "delta ", "epsilon "}
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
	}
	return []byte(b.String()[:n])
}

func TestDecode(t *testing.T) {
	data := text(50000)
	for name, coding := range codings {
		packed := encode(t, name, data)
		decoded, whole, err := content.Decode([]string{coding}, packed, false, 1<<20)
		require.NoError(t, err, name)
		require.True(t, whole, name)
		require.Equal(t, data, decoded, name)

		decoded, whole, err = content.Decode([]string{coding}, packed, false, 1000)
		require.NoError(t, err, name)
		require.False(t, whole, name)
		require.Equal(t, data[:1000], decoded, name)

		// Of what was cut, what is there can be read.
		decoded, whole, err = content.Decode([]string{coding}, packed[:len(packed)/2], true, 1<<20)
		require.NoError(t, err, name)
		require.False(t, whole, name)
		require.True(t, bytes.HasPrefix(data, decoded), name)

		// What breaks off by itself is an error.
		_, whole, err = content.Decode([]string{coding}, packed[:len(packed)/2], false, 1<<20)
		require.Error(t, err, name)
		require.False(t, whole, name)
	}
}

func TestDecodeTwice(t *testing.T) {
	data := text(5000)
	packed := encode(t, "br", encode(t, "gzip", data))
	decoded, whole, err := content.Decode([]string{"gzip", "br"}, packed, false, 1<<20)
	require.NoError(t, err)
	require.True(t, whole)
	require.Equal(t, data, decoded)
	_, _, err = content.Decode([]string{"gzip", "gzip", "gzip"}, packed, false, 1<<20)
	require.ErrorIs(t, err, content.ErrCoding)
}

func TestDecodeIsBounded(t *testing.T) {
	bomb := encode(t, "gzip", make([]byte, 64<<20))
	decoded, whole, err := content.Decode([]string{"gzip"}, bomb, false, 4096)
	require.NoError(t, err)
	require.False(t, whole)
	require.Len(t, decoded, 4096)
	require.LessOrEqual(t, cap(decoded), 64<<10)
}

func TestDecodeRefuses(t *testing.T) {
	for _, name := range []string{"deflate", "raw", "gzip", "br"} {
		_, _, err := content.Decode([]string{codings[name]}, append(encode(t, name, []byte("x")), "&q=1"...), false, 100)
		require.Error(t, err, "%s with something behind", name)
	}
	_, _, err := content.Decode([]string{"compress"}, []byte("x"), false, 100)
	require.ErrorIs(t, err, content.ErrCoding)
	for _, coding := range []string{"gzip", "br", "zstd", "deflate"} {
		_, _, err := content.Decode([]string{coding}, []byte("certainly not compressed"), false, 100)
		require.Error(t, err, coding)
	}
}

func TestCodings(t *testing.T) {
	require.Equal(t, []string{"gzip", "br"}, content.Codings([]string{"GZIP , identity", "", "br"}))
	require.Empty(t, content.Codings(nil))
}

func TestKindOf(t *testing.T) {
	for header, want := range map[string]content.Kind{
		"": content.Text, "text/plain; charset=utf-8": content.Text, "Application/X-WWW-Form-Urlencoded": content.Form,
		"multipart/form-data; boundary=x": content.Multipart, "application/json": content.JSON, "application/vnd.api+json; charset=utf-8": content.JSON,
		"application/soap+xml": content.XML, "text/xml": content.XML, "application/grpc": content.Stream, "application/grpc+proto": content.Stream,
		"image/png": content.Other, "application/json; bad;;": content.JSON, "multipart/form-data": content.Multipart,
	} {
		require.Equal(t, want, content.KindOf(header), header)
	}
}

func FuzzDecode(f *testing.F) {
	for name, coding := range codings {
		f.Add(coding, encode(f, name, []byte("some text")), true)
	}
	f.Fuzz(func(t *testing.T, coding string, data []byte, cut bool) {
		decoded, _, _ := content.Decode([]string{coding}, data, cut, 1000)
		require.LessOrEqual(t, len(decoded), 1000)
	})
}
