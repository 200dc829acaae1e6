// What content with many values costs a firewall without options, whose budget is about half
// a second:
//
//	go test -run '^$' -bench ManyValues -benchtime 5x ./edgewaf
package edgewaf

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func BenchmarkManyValues(b *testing.B) {
	form := func(n, size int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("item%d=%s", i, strings.Repeat("word+", size/5)))
		}
		return strings.Join(list, "&")
	}
	for _, bench := range []struct{ name, contentType, content string }{
		{"form of 64 KiB, 1000 values", "application/x-www-form-urlencoded", form(1000, 55)},
		{"form of 64 KiB, 1100 values", "application/x-www-form-urlencoded", form(1100, 50)}, // refused
		{"JSON, records of 5000 values", "application/json", records(1000, "")},
		{"JSON, 990 different values", "application/json", manyDifferent(990)},
		{"JSON, 1100 different values", "application/json", manyDifferent(1100)}, // refused
		{"JSON, 60000 numbers", "application/json", "[" + strings.Repeat("1,", 60000) + "1]"},
		{"JSON, 900 arrays of 900 values", "application/json", strings.NewReplacer("[", "[[", ",", "],[", "]", "]]").Replace(manyDifferent(900))}, // refused
		{"JSON, 128 KiB, 990 values", "application/json", strings.ReplaceAll(manyDifferent(990), `"Item`, `"`+strings.Repeat("word ", 23))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			g := newWafRig(b, "")
			for b.Loop() {
				w := g.do(browse("POST", "/", bench.content, "Content-Type: "+bench.contentType))
				if w.Code != http.StatusOK && w.Code != http.StatusForbidden {
					b.Fatal(w.Code)
				}
			}
			b.ReportMetric(float64(len(bench.content)), "bytes")
			b.ReportMetric(float64(g.state.counts[outcomeBlocked].Load())/float64(b.N), "refused/op")
		})
	}
}
