package edgecache

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/stretchr/testify/require"
)

// numbered is an origin that answers each request with its ordinal, so that what
// was stored can be told from what was fetched anew. It may be asked by several
// requests at once.
type numbered struct {
	fetches atomic.Int32
	fields  []string
}

func (o *numbered) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	o.answer(w, o.next())
}

// next returns the ordinal of a request.
func (o *numbered) next() int { return int(o.fetches.Add(1)) }

// answer sends the response with a number and the origin's header fields.
func (o *numbered) answer(w http.ResponseWriter, n int) {
	o.addFields(w)
	body := strconv.Itoa(n)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write([]byte(body))
}

// addFields sets the origin's header fields alone.
func (o *numbered) addFields(w http.ResponseWriter) {
	for _, f := range o.fields {
		name, value, _ := strings.Cut(f, ": ")
		w.Header().Add(name, value)
	}
}

// requireFetches checks how often the origin was asked so far.
func (o *numbered) requireFetches(t require.TestingT, want int, what string) {
	require.Equal(t, want, int(o.fetches.Load()), what)
}

// cacheStatus is what the cache says it did.
func (g got) cacheStatus() string { return g.Header().Get("Cache-Status") }
