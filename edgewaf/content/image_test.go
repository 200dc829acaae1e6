package content_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgewaf/content"
)

func dataURL(kind, data string) string {
	return "data:image/" + kind + ";base64," + base64.StdEncoding.EncodeToString([]byte(data))
}

const pngBegin = "\x89PNG\r\n\x1a\n"

func TestWithoutImages(t *testing.T) {
	images := []string{
		dataURL("png", pngBegin+"x"), dataURL("png", pngBegin+"xy"), dataURL("png", pngBegin+"xyz"), dataURL("jpeg", "\xff\xd8\xff\xe0"), dataURL("jpg", "\xff\xd8\xff"),
		dataURL("gif", "GIF89a"), dataURL("webp", "RIFF\x00\x00\x00\x00WEBPVP8 "), dataURL("avif", "\x00\x00\x00 ftypavif"),
		dataURL("png", pngBegin+"xxxxxx")[:35], // cut
	}
	others := []string{
		"data:image/svg+xml;base64,PHN2Zz4=", "data:text/html;base64,PHNjcmlwdD4=", dataURL("png", "\xff\xd8\xff"), dataURL("png", ""),
		dataURL("png", pngBegin+"<?php system($_GET[0]);"), dataURL("png", pngBegin+"<?= `id`"), dataURL("png", pngBegin+"<? echo"), dataURL("png", pngBegin+"<SCRIPT>"),
		dataURL("png", pngBegin) + "' or 1=1", "x" + dataURL("png", pngBegin), dataURL("png", pngBegin) + "\n<script>", "data:image/png," + pngBegin,
		dataURL("png", pngBegin+"abc") + "===", "data:image/png;base64,iVBORw0K\nGgo=", "DATA:image/png;base64,iVBORw0KGgo=",
	}
	for i, value := range append(images, others...) {
		want := value
		if i < len(images) {
			want = "image"
		}
		encode := func(v string) string {
			text, err := json.Marshal(v)
			require.NoError(t, err)
			return string(text)
		}
		for _, around := range [][2]string{{`{"a":`, `,"b":"\"data:image"}`}, {"[", "]"}, {`["\\",`, ` , "x"]`}, {"", ""}} {
			require.JSONEq(t, around[0]+encode(want)+around[1], string(content.WithoutImages(content.JSON, []byte(around[0]+encode(value)+around[1]))), value)
		}
		escaped := strings.ReplaceAll(encode(value), "/", `\/`)
		require.JSONEq(t, encode(want), string(content.WithoutImages(content.JSON, []byte(escaped))))
		form := "a=1&b=" + url.QueryEscape(value) + "&c"
		if want != value {
			form = "a=1&b=image&c"
		}
		require.Equal(t, form, string(content.WithoutImages(content.Form, []byte("a=1&b="+url.QueryEscape(value)+"&c"))))
	}
	image := `"` + images[0] + `"`
	for _, text := range []string{"[" + image, `["\` + image + `]`, image + image} {
		require.Equal(t, text, string(content.WithoutImages(content.JSON, []byte(text))), "no JSON")
	}
	require.Equal(t, image, string(content.WithoutImages(content.Text, []byte(image))))
}

// FuzzWithoutImages wants JSON to stay JSON, with nothing but images replaced.
func FuzzWithoutImages(f *testing.F) {
	f.Add(`{"a":"` + dataURL("png", pngBegin) + `","b":"\"data:image/png;base64,"}`)
	f.Fuzz(func(t *testing.T, text string) {
		out := content.WithoutImages(content.JSON, []byte(text))
		if !json.Valid([]byte(text)) {
			require.Equal(t, text, string(out))
			return
		}
		require.True(t, json.Valid(out), "%s", out)
		if !strings.Contains(text, ";base64,") {
			require.Equal(t, text, string(out))
		}
		content.WithoutImages(content.Form, []byte(text))
	})
}
