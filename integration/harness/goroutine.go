package harness

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// profilePath gives all stacks of the process as text.
const profilePath = "/debug/pprof/goroutine?debug=2"

// goroutines groups the stacks of a process by the function that started them.
type goroutines map[string][]string

// lingering start goroutines that rightly outlive what caused them.
var lingering = []string{
	// Kept connections to upstreams.
	"net/http.(*Transport).dialConn",
	"net/http.(*http2Transport).newClientConn",
	"golang.org/x/net/http2.(*Transport).newClientConn",
	// Connections to a Redis server, some of which begin to work in the background
	// when they are first used by several goroutines at once.
	"github.com/redis/rueidis.(*pipe).startBackground",
	"github.com/redis/rueidis.(*pipe)._background",
	// Cleans up behind dynamic upstreams, once begun, until the process ends.
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.(*Upstream).fillDynamicHost.func1",
	// Sleeps up to five seconds before it sees that its lock was released.
	"github.com/caddyserver/certmagic.createLockfile",
}

// parseGoroutines reads the text of profilePath. Goroutines that serve the profile
// itself, and lingering ones, are left out.
func parseGoroutines(dump string) goroutines {
	found := make(goroutines)
	for stack := range strings.SplitSeq(dump, "\n\n") {
		if !strings.HasPrefix(stack, "goroutine ") || strings.Contains(stack, "net/http/pprof.") {
			continue
		}
		creator := "main"
		if _, after, ok := strings.Cut(stack, "\ncreated by "); ok {
			line, _, _ := strings.Cut(after, "\n")
			creator, _, _ = strings.Cut(line, " in goroutine ")
		}
		if !slices.Contains(lingering, creator) {
			found[creator] = append(found[creator], strings.TrimSpace(stack))
		}
	}
	return found
}

// excess describes the goroutines that g has beyond those of base, or returns "".
func (g goroutines) excess(base goroutines) string {
	var b strings.Builder
	for _, creator := range slices.Sorted(maps.Keys(g)) {
		if more := len(g[creator]) - len(base[creator]); more > 0 {
			fmt.Fprintf(&b, "%d more than at the start were created by %s:\n%s\n\n",
				more, creator, strings.Join(g[creator], "\n\n"))
		}
	}
	return b.String()
}
