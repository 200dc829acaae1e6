// What the rules take for ordinary requests at paranoia level 1, with the operators of this
// package and, in a process of its own since operators are registered for all of a process,
// with those of the engine:
//
//	go test -run '^$' -bench . ./edgewaf/crs
//	EDGE_BENCH_STOCK=1 go test -run '^$' -bench . ./edgewaf/crs
//
// Beside ns/op, cpu-ns/op is the processor time of the benchmark's thread, which others on
// the machine do not lengthen. ./xcaddy.sh bench waf waf-engine runs both and compares.
package crs

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// benchEngine is compiled once for all benchmarks.
var benchEngine = sync.OnceValues(func() (*Engine, error) {
	if os.Getenv("EDGE_BENCH_STOCK") != "" {
		RegisterOperator = func() {}
	}
	o := new(Options)
	if err := o.Validate(); err != nil {
		return nil, err
	}
	plan, err := Prepare(o, Limits{Body: 128 << 10, Response: 1})
	if err != nil {
		return nil, err
	}
	return plan.Compile()
})

// browserFields are those of a browser.
var browserFields = http.Header{
	"User-Agent":         {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"},
	"Accept":             {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"},
	"Accept-Encoding":    {"gzip, deflate, br, zstd"},
	"Accept-Language":    {"en-GB,en-US;q=0.9,en;q=0.8"},
	"Cookie":             {"session=6f1c0f8e2b5a4d3c9e7f; theme=dark; consent=yes"},
	"Referer":            {"https://www.example.com/products?page=2"},
	"Sec-Ch-Ua":          {`"Chromium";v="131", "Not_A Brand";v="24"`},
	"Sec-Ch-Ua-Mobile":   {"?0"},
	"Sec-Ch-Ua-Platform": {`"Windows"`},
	"Sec-Fetch-Dest":     {"document"},
	"Sec-Fetch-Mode":     {"navigate"},
	"Sec-Fetch-Site":     {"same-origin"},
}

// benchProse is ordinary text of some length.
func benchProse(r *rand.Rand, n int) string {
	words := strings.Fields(`the of and to in is for that with order customer address street name total price update shipping value
		content user session first last email phone city country note please deliver before noon thanks basket when where number`)
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteString([]string{" ", " ", " ", " ", ", ", ". "}[r.IntN(6)])
	}
	return b.String()[:n]
}

// benchRequest evaluates a request over and over.
func benchRequest(b *testing.B, method, uri, contentType, content string) {
	engine, err := benchEngine()
	if err != nil {
		b.Fatal(err)
	}
	header := browserFields.Clone()
	if content != "" {
		header.Set("Content-Type", contentType)
		header.Set("Content-Length", fmt.Sprint(len(content)))
	}
	request := &Request{
		ID: "bench", Method: method, URI: uri, Proto: "HTTP/1.1", Host: "www.example.com", Header: header,
		Client: netip.MustParseAddr("192.0.2.1"), Body: []byte(content),
	}
	if contentType == "application/json" {
		request.Processor = ProcessorJSON
	}
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	evaluate := func() {
		s := engine.Begin(request, nil)
		if v := s.Request(); v.Err != nil || len(v.Matches) > 0 {
			b.Fatalf("%v %+v", v.Err, v.Matches)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	evaluate() // automata grow when they are used
	start := threadTime(b)
	for b.Loop() {
		evaluate()
	}
	b.ReportMetric(float64(threadTime(b)-start)/float64(b.N), "cpu-ns/op")
}

// threadTime is the processor time of the thread in nanoseconds.
func threadTime(b *testing.B) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}

func BenchmarkBrowserGET(b *testing.B) {
	benchRequest(b, "GET", "/products/shoes?page=3&sort=price", "", "")
}

func BenchmarkForm1K(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	form := "name=Alice+Example&email=alice%40example.com&street=12+Long+Street&agree=on&note="
	benchRequest(b, "POST", "/orders", "application/x-www-form-urlencoded", form+url.QueryEscape(benchProse(r, 900)))
}

// BenchmarkJSON4K has many short values.
func BenchmarkJSON4K(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var list strings.Builder
	list.WriteString(`{"items":[`)
	for n := 0; list.Len() < 4<<10; n++ {
		fmt.Fprintf(&list, `{"id":%d,"name":"%s","price":12.5,"tags":["new","red"]},`, 100_000+n, strings.TrimSpace(benchProse(r, 24)))
	}
	list.WriteString(`{"id":1}]}`)
	benchRequest(b, "POST", "/api/orders", "application/json", list.String())
}

// BenchmarkJSON64K has a few long values: a document.
func BenchmarkJSON64K(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var parts []string
	for range 16 {
		parts = append(parts, `{"heading":"`+strings.TrimSpace(benchProse(r, 30))+`","text":"`+benchProse(r, 4<<10)+`"}`)
	}
	benchRequest(b, "PUT", "/api/pages/5", "application/json", `{"title":"A page","parts":[`+strings.Join(parts, ",")+`]}`)
}
