package rfc9111

// go test -run - -bench . ./edgecache/rfc9111

import (
	"net/http"
	"testing"
)

func BenchmarkReuse(b *testing.B) {
	o, f, req := &Options{}, kept(b, "max-age=10"), get()
	b.ReportAllocs()
	for b.Loop() {
		_ = o.Reuse(req, &f, now)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	for name, h := range map[string]http.Header{
		"none":     {"Accept": {"*/*"}},
		"no-cache": {"Cache-Control": {"no-cache"}, "Pragma": {"no-cache"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = ParseRequest(h)
			}
		})
	}
}

func BenchmarkStorable(b *testing.B) {
	o := &Options{Targets: []string{OwnControl, "CDN-Cache-Control"}}
	req, resp := get(), answer(200, "Date: "+httpDate(0), "Cache-Control: public, max-age=600", "Vary: Accept-Encoding", `ETag: "a"`)
	b.ReportAllocs()
	for b.Loop() {
		_ = o.Storable(req, resp)
	}
}
