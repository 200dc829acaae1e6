package content

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// imageURL is the beginning of a data URL (RFC 2397) of an image that is no text.
var imageURL = regexp.MustCompile(`^data:image/(png|jpe?g|gif|webp|avif);base64,`)

// signatures are how those images begin, from a place on.
var signatures = map[string]struct {
	at   int
	text string
}{
	"png": {0, "\x89PNG\r\n\x1a\n"}, "jpg": {0, "\xff\xd8\xff"}, "jpeg": {0, "\xff\xd8\xff"}, "gif": {0, "GIF8"}, "webp": {8, "WEBP"}, "avif": {4, "ftyp"},
}

// program is what an interpreter of PHP would run if it were made to include an image.
var program = regexp.MustCompile(`(?i)<\?(php|=|\s)|<script`)

// isImage reports whether a text is the data URL of an image and nothing else: its content is
// base64, begins as such an image does, and has no program in it. It may have been cut.
func isImage(text string) bool {
	m := imageURL.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	digits := text[len(m[0]):]
	if n := strings.TrimRight(digits, "="); len(digits)-len(n) <= 2 {
		digits = n
	}
	if len(digits)%4 == 1 {
		digits = digits[:len(digits)-1]
	}
	if strings.ContainsAny(digits, "\r\n") { // which decoding passes over
		return false
	}
	image, err := base64.RawStdEncoding.DecodeString(digits)
	s := signatures[m[1]]
	return err == nil && len(image) >= s.at && bytes.HasPrefix(image[s.at:], []byte(s.text)) && !program.Match(image)
}

// imageStandIn is what is looked at in the place of an image.
const imageStandIn = "image"

// WithoutImages returns a form or JSON with a word in the place of each value that is the data
// URL of an image. Rules take those for attacks, and find nothing in them but by chance. It
// returns data itself when there is none.
func WithoutImages(kind Kind, data []byte) []byte {
	switch {
	case kind == JSON && bytes.Contains(data, []byte(`"data:image`)) && json.Valid(data):
		return jsonWithoutImages(data)
	case kind == Form && bytes.Contains(data, []byte("=data")):
		return formWithoutImages(data)
	}
	return data
}

func jsonWithoutImages(data []byte) []byte {
	var out []byte
	rest := data
	for {
		// In valid JSON such a quotation mark begins a text: one within a text has a
		// backslash in front.
		i := bytes.Index(rest, []byte(`"data:image`))
		if i < 0 {
			return append(out, rest...)
		}
		end := i + 1
		for rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		out = append(out, rest[:i]...)
		text := rest[i : end+1]
		var value string
		if (i == 0 || rest[i-1] != '\\') && json.Unmarshal(text, &value) == nil && isImage(value) {
			text = []byte(`"` + imageStandIn + `"`)
		}
		out, rest = append(out, text...), rest[end+1:]
	}
}

func formWithoutImages(data []byte) []byte {
	var out []byte
	for i, pair := range bytes.Split(data, []byte("&")) {
		if i > 0 {
			out = append(out, '&')
		}
		name, raw, found := bytes.Cut(pair, []byte("="))
		if found {
			if value, err := url.QueryUnescape(string(raw)); err == nil && isImage(value) {
				pair = append(append(bytes.Clone(name), '='), imageStandIn...)
			}
		}
		out = append(out, pair...)
	}
	return out
}
