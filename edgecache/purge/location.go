package purge

import "strings"

// location is an absolute URL, or a pattern like one, in its parts. All but
// lower-casing works without allocation.
type location struct {
	scheme string // in lower case, or "" when missing
	host   string // with the port, in lower case
	path   string // without the query; "/" when missing
	target string // path and query
}

func splitURL(s string) location {
	var l location
	if i := strings.Index(s, "://"); i >= 0 && !strings.ContainsAny(s[:i], "/?*") {
		l.scheme, s = strings.ToLower(s[:i]), s[i+len("://"):]
	}
	if i := strings.IndexByte(s, '#'); i >= 0 {
		s = s[:i]
	}
	end := 0
	for end < len(s) && s[end] != '/' && s[end] != '?' {
		end++
	}
	l.host = withoutDefaultPort(strings.ToLower(s[:end]), l.scheme)
	l.target = s[end:]
	if l.target == "" || l.target[0] == '?' {
		l.target = "/" + l.target
	}
	l.path = l.target
	if i := strings.IndexByte(l.target, '?'); i >= 0 {
		l.path = l.target[:i]
	}
	return l
}

// Target returns the path and query of an absolute URL as purges by URL compare
// them.
func Target(url string) string { return splitURL(url).target }

func withoutDefaultPort(host, scheme string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	default:
		return host
	}
}

// defaultPort returns the port, with its colon, of a host that names none, or ""
// when it names one or the scheme has none.
func (l location) defaultPort() string {
	switch {
	case hostname(l.host) != l.host:
		return ""
	case l.scheme == "http":
		return ":80"
	case l.scheme == "https":
		return ":443"
	default:
		return ""
	}
}

// hostname returns host without a port. An IPv6 address keeps its brackets.
func hostname(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.IndexByte(host[i:], ']') >= 0 {
		return host
	}
	return host[:i]
}

// nextSegment returns where the path segment that begins behind the slash at i
// ends.
func nextSegment(path string, i int) int {
	if j := strings.IndexByte(path[i+1:], '/'); j >= 0 {
		return i + 1 + j
	}
	return len(path)
}

// prefixOf returns the normal form of a prefix, without a slash at the end, and
// its number of segments.
func prefixOf(path string) (prefix string, depth int) {
	end := 0
	for end < len(path) && depth < MaxDepth {
		next := nextSegment(path, end)
		if next == len(path) && next == end+1 {
			break
		}
		end = next
		depth++
	}
	return path[:end], depth
}
