package purge

import (
	"strings"
	"unsafe"

	"github.com/caddyedge/caddy-edge/edgecache/glob"
)

// wildcard is a parsed pattern and the number of its purge.
type wildcard struct {
	host string // "" matches any host
	rest string // of path and query
	seq  uint64
	soft bool
}

func newWildcard(pattern string, seq uint64, soft bool) wildcard {
	if i := strings.Index(pattern, "://"); i >= 0 && !strings.Contains(pattern[:i], "/") {
		pattern = pattern[i+len("://"):]
	}
	w := wildcard{host: pattern, rest: "/*", seq: seq, soft: soft}
	if i := strings.IndexByte(pattern, '/'); i >= 0 {
		w.host, w.rest = pattern[:i], pattern[i:]
	}
	w.host = strings.ToLower(w.host)
	return w
}

// bytes returns the memory that the wildcard takes in a list, which grows by doubling. Of
// its text the host is a copy.
func (w *wildcard) bytes() int64 {
	return 2*int64(unsafe.Sizeof(*w)) + 2*int64(len(w.host)) + int64(len(w.rest))
}

// match reports whether the pattern matches l, whose scheme has the default port.
func (w wildcard) match(l location, port string) bool {
	if w.host != "" && !glob.Match(w.host, l.host) && !glob.Match(w.host, hostname(l.host)) &&
		(port == "" || !glob.Match(w.host, l.host+port)) {
		return false
	}
	return glob.Match(w.rest, l.target)
}
