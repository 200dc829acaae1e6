// All expressions of the Core Rule Set at paranoia level 1, ours and the package that
// Coraza uses, over what they meet in requests:
//
//	go test -run '^$' -bench CoreRuleSet ./edgewaf/rx
package rx

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchTexts are the values of requests to which rules are applied.
func benchTexts() map[string][]string {
	words := strings.Fields(`the of and to in is for that with order customer address street name select from total
		price update shipping value http content user session token first last email phone city country note please
		deliver before noon thanks insert into basket when where number 12 2024-05-17 42.50 100 EUR`)
	r := rand.New(rand.NewPCG(1, 2))
	prose := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(words[r.IntN(len(words))])
			b.WriteString([]string{" ", " ", " ", " ", ", ", ". ", "\n"}[r.IntN(7)])
		}
		return b.String()[:n]
	}
	var json strings.Builder
	json.WriteString(`{"items":[`)
	for json.Len() < 4<<10 {
		json.WriteString(`{"id":` + randomText(r, "0123456789", 6) + `,"name":"` + prose(24) + `","price":12.50,"tags":["a","b"]},`)
	}
	json.WriteString(`{}]}`)
	return map[string][]string{
		"browser-get": {
			"www.example.com",
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
			"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
			"gzip, deflate, br, zstd", "en-GB,en-US;q=0.9,en;q=0.8", "https://www.example.com/products?page=2", "keep-alive",
			`"Chromium";v="131", "Not_A Brand";v="24"`, "?0", `"Windows"`, "document", "navigate", "same-origin", "?1", "1",
			"session=6f1c0f8e2b5a4d3c9e7f; theme=dark; _ga=GA1.1.123456789.1700000000",
			"/products/shoes?page=3&sort=price", "/products/shoes", "page", "3", "sort", "price",
		},
		"form":      {"name", "Alice Example", "email", "alice@example.com", "street", "12 Long Street, Flat 4", "note", prose(600), "agree", "on", "token", randomText(r, "0123456789abcdef", 64)},
		"json-4k":   {json.String()},
		"text-64k":  {prose(64 << 10)},
		"attack-4k": {prose(2<<10) + `1' OR '1'='1' UNION SELECT a, b FROM c -- <script>alert(1)</script> ../../etc/passwd; cat $(ls) ` + prose(2<<10)},
	}
}

func BenchmarkCoreRuleSet(b *testing.B) {
	var ours []*Regexp
	var theirs []groups
	for _, r := range crsRules() {
		if r.level > 1 {
			continue
		}
		re, err := compile(r.expr, r.bytes, MaxBytes)
		require.NoError(b, err)
		ours = append(ours, re)
		theirs = append(theirs, re.groups)
	}
	for name, texts := range benchTexts() {
		// One round of the reference is enough for the ratio, and long.
		var matches [2]int
		start := time.Now()
		for _, re := range theirs {
			for _, s := range texts {
				if re.MatchString(s) {
					matches[0]++
				}
			}
		}
		reference := time.Since(start)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			run := func() {
				matches[1] = 0
				for _, re := range ours {
					for _, s := range texts {
						if re.Match(s) {
							matches[1]++
						}
					}
				}
			}
			run()
			for b.Loop() {
				run()
			}
			require.Equal(b, matches[0], matches[1])
			b.ReportMetric(reference.Seconds()*1e9, "regexp-ns/op")
			b.ReportMetric(reference.Seconds()/(b.Elapsed().Seconds()/float64(b.N)), "ratio")
		})
	}
}

// BenchmarkCompile is the cost of all expressions of the rule set.
func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range crsRules() {
			_, err := compile(r.expr, r.bytes, MaxBytes)
			require.NoError(b, err)
		}
	}
}

// BenchmarkAttack reads text that needs a new state for nearly each byte.
func BenchmarkAttack(b *testing.B) {
	re, err := Compile(blowup(16))
	require.NoError(b, err)
	r := rand.New(rand.NewPCG(1, 2))
	s := randomText(r, "ab", 1<<20)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(1000)
		for b.Loop() {
			from := r.IntN(len(s) - 1000)
			re.Match(s[from : from+1000])
		}
	})
	b.Run("regexp", func(b *testing.B) {
		b.SetBytes(1000)
		for b.Loop() {
			from := r.IntN(len(s) - 1000)
			re.groups.MatchString(s[from : from+1000])
		}
	})
}
