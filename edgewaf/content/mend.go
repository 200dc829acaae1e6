package content

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// Mend ends content that was cut, so that what is left of it can be read as its kind. It
// only takes away the last few bytes, or appends to them, and returns data itself when
// there is nothing to do.
func Mend(kind Kind, boundary string, data []byte) []byte {
	switch kind {
	case Form:
		return mendEscape(data)
	case JSON:
		return mendJSON(data)
	case Multipart:
		return mendMultipart(data, boundary)
	case XML:
		return mendXML(data)
	case Text:
		return mendText(data)
	case Other, Stream:
	}
	return data
}

// mendEscape takes away a percent-encoding that is not complete.
func mendEscape(data []byte) []byte {
	for n := 1; n <= 2 && n <= len(data); n++ {
		if data[len(data)-n] == '%' {
			return data[:len(data)-n]
		}
	}
	return data
}

// mendText takes away a character that is not complete.
func mendText(data []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		c := data[len(data)-n]
		if utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(data[len(data)-n:]) {
				return data[:len(data)-n]
			}
			break
		}
	}
	return data
}

// maxBoundary is how long a boundary may be (RFC 2046 section 5.1.1).
const maxBoundary = 70

// mendXML ends a section of characters that was cut. All else that XML can be cut in is no
// error to its readers.
func mendXML(data []byte) []byte {
	data = mendText(data)
	open := bytes.LastIndex(data, []byte("<![CDATA["))
	if open < 0 || bytes.Contains(data[open:], []byte("]]>")) {
		return data
	}
	return append(bytes.TrimRight(slices.Clone(data), "]"), "]]>"...)
}

// mendMultipart ends the part that was cut, and the whole.
func mendMultipart(data []byte, boundary string) []byte {
	if boundary == "" || len(boundary) > maxBoundary {
		return data
	}
	out := append([]byte(nil), data...)
	// A delimiter that is itself cut is no content.
	closing := []byte("\r\n--" + boundary + "--")
	delimiter := closing[:len(closing)-2]
	for n := min(len(closing), len(out)); n > 0; n-- {
		if bytes.HasPrefix(closing, out[len(out)-n:]) {
			out = out[:len(out)-n]
			break
		}
	}
	// A header that is cut gets its end, so that what there is of it is seen.
	if head := bytes.LastIndex(out, delimiter[2:]); head >= 0 && !bytes.Contains(out[head:], []byte("\r\n\r\n")) {
		if line := bytes.LastIndex(out[head:], []byte("\r\n")); line < 0 || bytes.IndexByte(out[head+line:], ':') < 0 {
			// A line without a colon would be an error: the part is left out.
			out = out[:max(head-2, 0)]
			if head < 2 {
				return out
			}
		} else {
			out = closeQuote(out, head+line)
			out = append(out, "\r\n\r\n"...)
		}
	}
	out = append(out, delimiter...)
	return append(out, "--\r\n"...)
}

// closeQuote ends a quoted string in the line that begins at a place.
func closeQuote(data []byte, from int) []byte {
	quoted := false
	for i := from; i < len(data); i++ {
		switch data[i] {
		case '\\':
			if quoted {
				if i+1 == len(data) {
					return append(data[:i], '"')
				}
				i++
			}
		case '"':
			quoted = !quoted
		}
	}
	if quoted {
		return append(data, '"')
	}
	return data
}
