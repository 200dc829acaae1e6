package object

// go test -run '^$' -bench . ./edgecache/object

import (
	"net/http"
	"testing"
)

func BenchmarkNew(b *testing.B) {
	s, body := sample(), [][]byte{make([]byte, 1024)}
	b.ReportAllocs()
	for b.Loop() {
		New(s, body)
	}
}

func BenchmarkFields(b *testing.B) {
	o := New(sample(), nil)
	b.ReportAllocs()
	for b.Loop() {
		for name, value := range o.Fields {
			_, _ = name, value
		}
	}
}

func BenchmarkFillHeader(b *testing.B) {
	o := New(sample(), nil)
	header, backing := make(http.Header, 16), make([]string, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		backing = o.FillHeader(header, backing[:0])
	}
}

func BenchmarkETag(b *testing.B) {
	o := New(sample(), nil)
	b.ReportAllocs()
	for b.Loop() {
		if o.ETag() == "" {
			b.Fatal("no ETag")
		}
	}
}

func BenchmarkGetUnknown(b *testing.B) {
	o := New(sample(), nil)
	b.ReportAllocs()
	for b.Loop() {
		if o.Get("X-Another") == "" {
			b.Fatal("no field")
		}
	}
}
