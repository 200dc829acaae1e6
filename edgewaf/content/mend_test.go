package content_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgewaf/content"
)

// value draws a value of JSON.
func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 5
		if depth > 0 {
			kinds = 7
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return rapid.Float64Range(-1e9, 1e9).Draw(t, "number")
		case 5:
			return rapid.SliceOfN(value(depth-1), 0, 4).Draw(t, "list")
		case 6:
			return rapid.MapOfN(rapid.String(), value(depth-1), 0, 4).Draw(t, "object")
		}
		return rapid.String().Draw(t, "text")
	})
}

func TestCutJSONIsMended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, err := json.Marshal(value(4).Draw(t, "value"))
		require.NoError(t, err)
		if rapid.Bool().Draw(t, "indent") {
			var b bytes.Buffer
			require.NoError(t, json.Indent(&b, whole, "", " "))
			whole = b.Bytes()
		}
		n := rapid.IntRange(1, len(whole)).Draw(t, "cut")
		before := bytes.Clone(whole)
		mended := content.Mend(content.JSON, "", whole[:n])
		require.True(t, json.Valid(mended), "%q became %q", whole[:n], mended)
		require.Equal(t, before, whole, "what was cut must not be written to")
		// Only the end may have changed.
		same := 0
		for same < min(n, len(mended)) && mended[same] == whole[same] {
			same++
		}
		require.LessOrEqual(t, n-same, 26, "%q became %q", whole[:n], mended) // a number, or an escape
	})
}

func TestMendJSON(t *testing.T) {
	for cut, want := range map[string]string{
		``: ``, `{`: `{}`, `[`: `[]`, `{"a`: `{"a":0}`, `{"a"`: `{"a":0}`, `{"a":`: `{"a":0}`, `{"a":"x`: `{"a":"x"}`, `{"a":"x\`: `{"a":"x"}`,
		`{"a":"x\\`: `{"a":"x\\"}`, `{"a":"x\u00`: `{"a":"x"}`, `{"a":12`: `{"a":0}`, `{"a":tr`: `{"a":0}`, `{"a":1,`: `{"a":1}`, `{"a":1, `: `{"a":1}`,
		`[1,[2,{"b":"c"`: `[1,[2,{"b":"c"}]]`, `[1]`: `[1]`, `"é`[:2]: `""`, `]`: `]`, `[1,2 `: `[1,2 ]`,
	} {
		require.Equal(t, want, string(content.Mend(content.JSON, "", []byte(cut))), cut)
	}
	deep := strings.Repeat("[", 5000)
	require.Equal(t, deep, string(content.Mend(content.JSON, "", []byte(deep))))
}

func FuzzMendJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,"\u00e9\\`))
	f.Fuzz(func(t *testing.T, data []byte) {
		mended := content.Mend(content.JSON, "", data)
		if json.Valid(data) {
			require.True(t, json.Valid(mended), "%q became %q", data, mended)
		}
		require.LessOrEqual(t, len(mended), 2*len(data)+8)
	})
}

// form is multipart content with a field and a file.
const form = "--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\nfirst value\r\n--b\r\n" +
	"Content-Disposition: form-data; name=\"f\"; filename=\"a \\\"quoted\\\" name.txt\"\r\nContent-Type: text/plain\r\n\r\nthe content\r\nof a file\r\n--b--\r\n"

func TestCutMultipartIsMended(t *testing.T) {
	for n := 1; n <= len(form); n++ {
		mended := content.Mend(content.Multipart, "b", []byte(form[:n]))
		r := multipart.NewReader(bytes.NewReader(mended), "b")
		var first string
		for {
			part, err := r.NextPart()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, "%d: %q", n, mended)
			data, err := io.ReadAll(part)
			require.NoError(t, err, "%d: %q", n, mended)
			if part.FormName() == "q" {
				first = string(data)
			}
			require.NotContains(t, string(data), "--b")
		}
		if n > strings.Index(form, "first value")+3 {
			require.NotEmpty(t, first, "%d: %q", n, mended)
		}
	}
}

func TestMendMultipartWithoutBoundary(t *testing.T) {
	require.Equal(t, form, string(content.Mend(content.Multipart, strings.Repeat("b", 71), []byte(form))), "none is so long")
	require.Equal(t, form, string(content.Mend(content.Multipart, "", []byte(form))))
}

func FuzzMendMultipart(f *testing.F) {
	f.Add([]byte(form), "b")
	f.Fuzz(func(t *testing.T, data []byte, boundary string) {
		if len(boundary) > 70 {
			return
		}
		before := bytes.Clone(data)
		mended := content.Mend(content.Multipart, boundary, data)
		require.Equal(t, before, data)
		require.LessOrEqual(t, len(mended), len(data)+2*len(boundary)+32)
	})
}

func TestMendOthers(t *testing.T) {
	for _, test := range []struct {
		kind      content.Kind
		cut, want string
	}{
		{content.Form, "a=1&b=%", "a=1&b="}, {content.Form, "a=1&b=%2", "a=1&b="}, {content.Form, "a=1&b=%20", "a=1&b=%20"}, {content.Form, "", ""},
		{content.Text, "é"[:1], ""}, {content.Text, "xé", "xé"}, {content.Text, "x\xff", "x\xff"}, {content.XML, "<a>\xe2\x82", "<a>"},
		{content.XML, "<a><![CDATA[x", "<a><![CDATA[x]]>"}, {content.XML, "<a><![CDATA[x]", "<a><![CDATA[x]]>"}, {content.XML, "<a><![CDATA[x]]>y", "<a><![CDATA[x]]>y"},
		{content.Other, "\xe2\x82", "\xe2\x82"},
	} {
		require.Equal(t, test.want, string(content.Mend(test.kind, "", []byte(test.cut))), "%q", test.cut)
	}
	require.True(t, utf8.Valid(content.Mend(content.Text, "", []byte("x\xf0\x9f\x98"))))
}
