package target

import "strings"

// Options are what normalisation does beyond the encoding of single characters.
type Options struct {
	// DotSegments resolves "." and ".." (RFC 3986 section 5.2.4). A ".." above the
	// root, or behind an empty segment, which is read in two ways, stays a fault.
	DotSegments bool
	// Slashes makes one slash of several.
	Slashes bool
}

// Path returns the normal form of a path as it is sent, escapes and all, and what is
// wrong with it. In the normal form unreserved characters are not escaped, all that a
// path can't have is, and escapes have digits in upper case; "%2F" stays what it is.
//
// The normal form of a normal form is itself, and has no fault that the path has not.
// A path that is in normal form is returned as it is, without an allocation.
func Path(raw string, o Options) (normal string, faults Fault) {
	if plain(raw, o) {
		return raw, 0
	}
	normal, faults = respell(raw)
	if o.Slashes {
		normal = mergeSlashes(normal)
	}
	if o.DotSegments {
		var above bool
		if normal, above = resolve(normal); above {
			faults |= Traversal
		}
	}
	return normal, faults | read(normal)
}

// plain reports whether there is nothing to do, which is so for most paths.
func plain(raw string, o Options) bool {
	before := byte('?')
	for i := range len(raw) {
		c := raw[i]
		if class[c]&inPath == 0 || c == ';' || c == '.' && (i == 0 || before == '/') || c == '/' && before == '/' && o.Slashes {
			return false
		}
		before = c
	}
	return true
}

// respell brings each character into its one spelling.
func respell(raw string) (normal string, faults Fault) {
	var b strings.Builder
	b.Grow(len(raw) + 8)
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '%' {
			if class[c]&inPath != 0 {
				b.WriteByte(c)
			} else {
				escape(&b, c)
			}
			continue
		}
		if c, ok := unescape(raw, i); !ok {
			faults |= Encoding
			escape(&b, '%')
			continue
		} else if class[c]&unreserved != 0 {
			b.WriteByte(c)
		} else {
			escape(&b, c)
		}
		i += 2
	}
	return b.String(), faults
}

// mergeSlashes makes one slash of several.
func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	var b strings.Builder
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			b.WriteByte(path[i])
		}
	}
	return b.String()
}

// resolve takes dot segments out. Above says that a ".." could not be: it leads above
// the root, or its meaning is not certain. Then the path is as it was.
func resolve(path string) (resolved string, above bool) {
	if !strings.HasPrefix(path, "/") || !strings.Contains(path, "/.") {
		return path, false
	}
	segments := strings.Split(path[1:], "/")
	out := segments[:0]
	for i, s := range segments {
		switch s {
		case ".", "..":
			if s == ".." {
				if len(out) == 0 || out[len(out)-1] == "" {
					return path, true
				}
				out = out[:len(out)-1]
			}
			if i == len(segments)-1 {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	resolved = "/" + strings.Join(out, "/")
	if strings.HasPrefix(resolved, "//") && !strings.HasPrefix(path, "//") {
		// It would be taken for the name of a host.
		resolved = "/." + resolved
	}
	return resolved, false
}

// depth is how many times a path is decoded to see what a server might make of it.
const depth = 8

// read looks at a path as servers may read it: decoded, and decoded again.
func read(path string) (faults Fault) {
	text, _ := decode(path)
	faults = look(text)
	for range depth {
		if !strings.Contains(text, "%") {
			return faults
		}
		again, escaped := decode(text)
		if again == text {
			return faults
		}
		faults |= look(again) & (Traversal | Overlong)
		if escaped {
			faults |= DoubleEncoding
		}
		text = again
	}
	return faults | DoubleEncoding
}

// decode decodes escapes once; others stay. Escaped says that there was one of a
// character that makes a difference to a rule.
func decode(path string) (text string, escaped bool) {
	if !strings.Contains(path, "%") {
		return path, false
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c, ok := unescape(path, i)
		if !ok {
			b = append(b, path[i])
			continue
		}
		b = append(b, c)
		escaped = escaped || class[c]&(unreserved|dangerous) != 0
		i += 2
	}
	return string(b), escaped
}

// look finds faults in a decoded path.
func look(text string) (faults Fault) {
	start := 0
	for i := 0; i <= len(text); i++ {
		var c byte
		if i < len(text) {
			c = text[i]
		}
		if i == len(text) || c == '/' || c == '\\' {
			segment, _, _ := strings.Cut(text[start:i], ";")
			if segment == ".." {
				faults |= Traversal
			}
			start = i + 1
			if i == len(text) {
				return faults
			}
		}
		switch {
		case c == 0:
			faults |= NUL
		case c < ' ' || c == 0x7f:
			faults |= Control
		case c == '\\':
			faults |= Backslash
		case c == ';':
			faults |= Parameter
		case c == 0xc0 || c == 0xc1,
			c == 0xe0 && i+1 < len(text) && text[i+1] >= 0x80 && text[i+1] < 0xa0,
			c == 0xf0 && i+1 < len(text) && text[i+1] >= 0x80 && text[i+1] < 0x90:
			faults |= Overlong
		}
	}
	return faults
}
