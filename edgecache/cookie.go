package edgecache

import (
	"net/http"
	"strings"
)

// cookiesOf yields the cookies of a request as they stand in its Cookie fields.
// net/http leaves out cookies whose values hold quotes, backslashes or other
// bytes that the RFC does not allow; the origin reads them all the same, so they
// must count here too.
func cookiesOf(h http.Header) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for _, line := range h["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
				if name = strings.TrimRight(name, " \t"); name != "" && !yield(name, value) {
					return
				}
			}
		}
	}
}
