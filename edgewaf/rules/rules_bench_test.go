package rules

// go test ./edgewaf/rules -run - -bench . -benchmem

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// hundred is a set of a hundred rules, as operators write them, none of which matches
// an ordinary request.
func hundred(b *testing.B) *Set {
	text := "mode: enforce\nrules:\n"
	for i := range 100 {
		match := fmt.Sprintf([]string{
			"{any: [{path_regex: '(?i)^/admin%d/'}]}",
			"{any: [{query_regex: '(?i)evil%d'}, {body_regex: '(?i)evil%[1]d'}]}",
			"{any: [{user_agent_regex: 'bad-bot-%d'}]}",
			"{all: [{header_name: X-Rule-%d}, {method: [POST, PUT]}]}",
			"{any: [{ip_cidr: 10.%d.0.0/16}]}",
		}[i%5], i)
		text += fmt.Sprintf("- id: rule%d\n  match: %s\n  action: {type: block}\n", i, match)
	}
	return compile(b, text)
}

func BenchmarkRequest(b *testing.B) {
	basic, err := Compile([]*Pack{Basic()}, nil)
	if err != nil {
		b.Fatal(err)
	}
	get := with("/shop/lamps?sort=price&page=2&utm_source=news\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0\nAccept: text/html\nAccept-Language: en\nCookie: sid=8f14e45fceea167a5a36dedd4bea2543\nReferer: https://www.example.com/")
	escaped := with("/shop/desk%20lamps?sort=price&q=a+b%20c&utm_source=news\nUser-Agent: Mozilla/5.0\nAccept: text/html")
	form := with("POST /comments\nContent-Type: application/x-www-form-urlencoded\n\ntext=" + strings.Repeat("some+words+of+a+comment%2C+", 40))
	large := with("POST /comments\nContent-Type: application/json\n\n{\"text\": \"" + strings.Repeat("some words of a comment, ", 2600) + "\"}")
	for _, set := range []struct {
		name string
		*Set
	}{{"hundred", hundred(b)}, {"basic", basic}} {
		for name, r := range map[string]*Request{"get": get, "escaped": escaped, "form-1k": form, "json-64k": large} {
			b.Run(set.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(r.Path) + len(r.RawQuery) + len(r.Body)))
				for b.Loop() {
					set.Request(r, func(m Match) { b.Fatal(told(m)) })
				}
			})
		}
	}
}

// racing: the race detector is on.
var racing bool

// TestNoAllocations: an ordinary request that matches nothing costs no memory.
func TestNoAllocations(t *testing.T) {
	if racing {
		t.Skip("the race detector empties pools")
	}
	s := compile(t, published, rule("match: {any: [{query_regex: '^x$'}, {header_regex: 'x:y'}, {cookie_name: x}, {body_regex: '^x$'}]}"))
	r := with("POST /a%20b?c=d+e&f=%20g\nUser-Agent: a\nCookie: a=b; c=%20\nAccept: text/html\nContent-Type: application/x-www-form-urlencoded\n\na=b+c&d=%20e")
	r.Client = netip.MustParseAddr("198.51.100.1")
	got := testing.AllocsPerRun(100, func() { s.Request(r, func(m Match) { t.Fatal(told(m)) }) })
	if got >= 1 { // the pool may be emptied in between
		t.Fatalf("%v allocations", got)
	}
}
