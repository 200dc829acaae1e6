package rx

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	"rsc.io/binaryregexp"
)

// reference compiles an expression with the package that ours is to equal.
func reference(expr string, bytes bool) (groups, error) {
	if bytes {
		return binaryregexp.Compile(expr)
	}
	return regexp.Compile(expr)
}

// pair is an expression in both ways.
type pair struct {
	ours   *Regexp
	theirs groups
}

// newPair returns nil where the reference has an error, and ours as well.
func newPair(t require.TestingT, expr string, bytes bool, limit int) *pair {
	theirs, err := reference(expr, bytes)
	ours, ourErr := compile(expr, bytes, limit)
	if err != nil {
		require.ErrorContains(t, ourErr, err.Error())
		require.ErrorContains(t, ourErr, fmt.Sprintf("%q", expr))
		return nil
	}
	require.NoError(t, ourErr)
	return &pair{ours, theirs}
}

// check compares what both make of a text.
func (p *pair) check(t require.TestingT, s string) {
	want := p.theirs.MatchString(s)
	if got := p.ours.Match(s); got != want {
		require.Equal(t, want, got, "%q in %q", p.ours, s)
	}
	if !want {
		return
	}
	found := p.theirs.FindStringSubmatchIndex(s)
	next := 0
	matched := p.ours.Captures(s, 9, func(i int, text string) {
		require.Equal(t, next, i)
		if from := found[2*i]; from < 0 {
			require.Empty(t, text)
		} else {
			require.Equal(t, s[from:found[2*i+1]], text, "group %d of %q in %q", i, p.ours, s)
		}
		next++
	})
	require.True(t, matched)
	require.Equal(t, min(9, len(found)/2), next)
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		expr, text string
		want       bool
	}{
		{``, ``, true},
		{``, `a`, true},
		{`a`, ``, false},
		{`a`, `bca`, true},
		{`abc`, `ababc`, true},
		{`a|`, `b`, true},
		{`(?i)select`, `xx SeLeCt`, true},
		{`(?i)select`, "\u017fele\u0063t", true}, // ſ is an s
		{`(?i)kiss me`, "what: \u212Ai\u017F\u017F ME", true},
		{`[^a]`, `aaa`, false},
		{`[^a]`, `aab`, true},
		{`^b`, "a\nb", false},
		{`(?m)^b`, "a\nb", true},
		{`(?m)^b`, "a\rb", false},
		{`a$`, "a\n", false},
		{`(?m)a$`, "a\nb", true},
		{`a\z`, "a\n", false},
		{`\Ab`, "a\nb", false},
		{`(?m)\Ab`, "a\nb", false},
		{`(?m)^$`, "a\n\nb", true},
		{`(?m)^$`, "a\nb", false},
		{`(?m)^$`, "a\n", true},
		{`$^`, ``, true},
		{`(?m)$\n^b`, "a\nb", true},
		{`(?m)$b`, "a\nb", false},
		{`\bfoo\b`, `a foo.`, true},
		{`\bfoo\b`, `afoo`, false},
		{`\bfoo\b`, `foo_`, false},
		{`\bfoo\b`, "éfoo", true}, // word characters are ASCII
		{`\Boo\b`, `foo`, true},
		{`\Bfoo`, `foo`, false},
		{`\b`, ``, false},
		{`\B`, ``, true},
		{`\b`, ` `, false},
		{`\b`, `a`, true},
		{`^\b$`, ``, false},
		{`a.c`, "a\nc", false},
		{`(?s)a.c`, "a\nc", true},
		{`(?s)^.$`, "\xff", true},
		{`(?s)^.$`, "é", true},
		{`(?s)^.$`, "\xc3", true},
		{`(?s)^.{3}$`, "\xe2\x82x", true}, // the start of a rune is two that are invalid
		{`(?s)^..$`, "é", false},
		{"\uFFFD", "a\xff", true},
		{"\uFFFD\uFFFD", "a\xff\xfe", true},
		{"\uFFFDab-cdef-ghijk", "0123456789 \xffab-cdef-ghijk", true},
		{`[\x{80}-\x{7ff}]`, "aéb", true},
		{`[\x{800}-\x{ffff}]`, "aéb", false},
		{`\xe9`, "\xe9", false},
		{`\xe9`, "é", true},
		{`\p{Greek}+\d`, "ab αβγ1", true},
		{`\p{Greek}+\d`, "ab αβγ", false},
		{`[^\x00-\x{10FFFF}]`, `a`, false},
		{`a{0}`, ``, true},
		{`(?:a{3}){3}`, `aaaaaaaa`, false},
		{`(?:a{3}){3}`, `aaaaaaaaa`, true},
		{`(?:<script|javascript:|onload=)[^>]*>`, strings.Repeat("text without any of it, ", 20) + `<SCRIPT>`, false},
		{`(?i)(?:<script|javascript:|onload=)[^>]*>`, strings.Repeat("text without any of it, ", 20) + `<SCRIPT>`, true},
		{`x*`, strings.Repeat("y", 1000), true},
		{`\x00`, "abc\x00", true},
	} {
		p := newPair(t, test.expr, false, MaxBytes)
		require.Equal(t, test.want, p.theirs.MatchString(test.text), "%q in %q by regexp", test.expr, test.text)
		p.check(t, test.text)
	}
}

func TestMatchBinary(t *testing.T) {
	for _, test := range []struct {
		expr, text string
		want       bool
	}{
		{``, ``, true},
		{`\xff`, "a\xff", true},
		{`\xff`, "aÿ", false},
		{`^.$`, "é", false},
		{`^..$`, "é", true},
		{`[\x80-\xbf]`, "é", true},
		{`[^\x80-\xff]`, "é", false},
		{`(?i)\xe9`, "\xc9", true},
		{`\xbc[^\xbe>]*[\xbe>]|<[^\xbe]*\xbe`, "\xbcscript\xbe", true},
		{`\xbc[^\xbe>]*[\xbe>]|<[^\xbe]*\xbe`, "<script>", false},
		{`\bab\b`, "\xe9ab\xe9", true},
		{`é`, "é", false}, // one rune of the expression is one byte of the text
		{`é`, "\xe9", true},
		{`\x{100}`, "Ā", false},
		{`(?i)k`, "\u212A", false},
		{`.`, "\n", false},
		{`(?s).`, "\n", true},
	} {
		p := newPair(t, test.expr, true, MaxBytes)
		require.Equal(t, test.want, p.theirs.MatchString(test.text), "%q in %q by binaryregexp", test.expr, test.text)
		p.check(t, test.text)
	}
}

func TestCaptures(t *testing.T) {
	re, err := Compile(`(a)|(b)(c)?(d)(e)(f)(g)(h)(i)(j)(k)`)
	require.NoError(t, err)
	captures := func(s string, limit int) (all []string) {
		re.Captures(s, limit, func(i int, text string) {
			require.Len(t, all, i)
			all = append(all, text)
		})
		return all
	}
	require.Nil(t, captures("x", 9))
	require.Equal(t, []string{"bdefghijk", "", "b", "", "d", "e", "f", "g", "h"}, captures("-bdefghijk", 9))
	require.Equal(t, []string{"a", "a", ""}, captures("xa", 3))
	require.Len(t, captures("a", 99), 12)
	require.True(t, re.Captures("a", 0, nil))
}

func TestCompileErrors(t *testing.T) {
	_, err := Compile(`a(b`)
	require.EqualError(t, err, "compiling regular expression \"a(b\": error parsing regexp: missing closing ): `a(b`")
	_, err = CompileBinary(`a**`)
	require.EqualError(t, err, "compiling regular expression \"a**\": error parsing regexp: invalid nested repetition operator: `**`")
}

// TestTooLarge: what gets no automaton matches all the same.
func TestTooLarge(t *testing.T) {
	p := newPair(t, "x(?:"+strings.Repeat("a", 70_000)+")?y", false, MaxBytes)
	require.Nil(t, p.ours.program)
	p.check(t, "an x, xy")
	p.check(t, "an x, x y")
	p = newPair(t, `a[bc]d`, false, 100)
	require.Nil(t, p.ours.program)
	p.check(t, "abd")
	p.check(t, "abe")
}

// limits are those in tests: enough, and so small that states are dropped all the time.
var limits = []int{MaxBytes, 6 << 10, 3 << 10}

// TestCoreRuleSet: each expression of the rule set, on texts of its tests: some for each
// expression, or all when EDGE_TEST_ALL is set, which takes the reference many minutes.
func TestCoreRuleSet(t *testing.T) {
	rules, texts := crsRules(), crsTexts()
	share := 40
	if raceDetector {
		share = 400
	}
	if os.Getenv("EDGE_TEST_ALL") != "" {
		share = 1
	}
	for _, limit := range limits {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			var flushes, fallbacks, bytes, states int
			for n, r := range rules {
				p := newPair(t, r.expr, r.bytes, limit)
				random := rand.New(rand.NewPCG(uint64(n), 1))
				for i, text := range texts {
					if i%share == n%share {
						p.check(t, text)
						p.check(t, mutated(random, text, texts))
					}
				}
				s := p.ours.Stats()
				require.LessOrEqual(t, s.Bytes, limit)
				flushes, fallbacks, bytes, states = flushes+s.Flushes, fallbacks+s.Fallbacks, bytes+s.Bytes, states+s.States
			}
			t.Logf("%d expressions, %d texts: %d states in %d bytes, %d flushes, %d fallbacks", len(rules), len(texts), states, bytes, flushes, fallbacks)
			if limit != MaxBytes {
				require.NotZero(t, flushes)
				require.NotZero(t, fallbacks)
			}
		})
	}
}

// mutated changes a text a little: parts of others, other cases, bytes that are no UTF-8.
func mutated(r *rand.Rand, s string, texts []string) string {
	b := []byte(s)
	for range 1 + r.IntN(4) {
		at := r.IntN(len(b) + 1)
		switch r.IntN(5) {
		case 0:
			other := texts[r.IntN(len(texts))]
			from := r.IntN(len(other) + 1)
			b = append(b[:at:at], append([]byte(other[from:min(len(other), from+20)]), b[at:]...)...)
		case 1:
			b = append(b[:at:at], b[min(len(b), at+1+r.IntN(3)):]...)
		case 2:
			b = append(b[:at:at], append([]byte{byte(r.Uint32())}, b[at:]...)...)
		case 3:
			odd := []string{"\n", "\x00", "é", "\u017f", "\u212A", "\uFFFD", "\xe2\x82", "😀", " ", "_"}
			b = append(b[:at:at], append([]byte(odd[r.IntN(len(odd))]), b[at:]...)...)
		case 4:
			b = []byte(strings.ToUpper(string(b)))
		}
	}
	return string(b)
}

// expressions draws expressions in which all that the automaton treats on its own is common.
func expressions(bytes bool) *rapid.Generator[string] {
	atoms := []string{
		"a", "b", "ab", "k", "s", "_", " ", "1", `\n`, "=", "<x", ".", `\w`, `\W`, `\d`, `\s`, "[ab]", "[^a]", "[^\\n]", "[a-k]", `[\s\S]`,
		"^", "$", `\b`, `\B`, `\A`, `\z`, "", "(?m:^)", "(?m:$)", "(?s:.)", "(?i:k)", "(?i:S)", "(?i:ab=)", "select",
	}
	if bytes {
		atoms = append(atoms, `\xe9`, `\xff`, `[\x80-\xbf]`, `(?i:\xe9)`, `[^\xff]`)
	} else {
		atoms = append(atoms, "é", `\x{FFFD}`, "😀", `\p{Greek}`, `[^\x{80}-\x{7ff}]`, `[\x{800}-\x{10ffff}]`, "(?i:é)", `\x{2028}`)
	}
	return rapid.Custom(func(t *rapid.T) string {
		var draw func(depth int) string
		draw = func(depth int) string {
			if depth == 0 {
				return rapid.SampledFrom(atoms).Draw(t, "atom")
			}
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				return draw(depth-1) + "|" + draw(depth-1)
			case 1:
				return "(?:" + draw(depth-1) + "|" + draw(depth-1) + ")"
			case 2:
				return "(?:" + draw(depth-1) + ")*"
			case 3:
				return "(" + draw(depth-1) + ")+"
			case 4:
				return "(" + draw(depth-1) + ")?"
			case 5:
				return "(?:" + draw(depth-1) + "){2,3}?"
			case 6:
				return rapid.SampledFrom([]string{"(?i)", "(?s)", "(?m)", "(?sm)", "^", "(?m)^", `\b`}).Draw(t, "start") + draw(depth-1)
			default:
				return draw(depth-1) + draw(depth-1)
			}
		}
		return draw(rapid.IntRange(0, 5).Draw(t, "depth"))
	})
}

var texts = rapid.Custom(func(t *rapid.T) string {
	part := rapid.SampledFrom([]string{
		"a", "b", "k", "s", "K", "S", "\u212A", "\u017F", "_", " ", "1", "\n", "=", "AB=", "<x", "é", "É", "\uFFFD", "😀", "α", "\u2028",
		"\xff", "\xe9", "\xc9", "\xe2\x82", "\xf0\x9f", "\x80", "select", "SELECT", "xxxxxxxxxxxxxxxxxxxxxxxx", "\n\n",
	})
	return strings.Join(rapid.SliceOfN(part, 0, 24).Draw(t, "text"), "")
})

func TestProperty(t *testing.T) {
	for _, bytes := range []bool{false, true} {
		t.Run(map[bool]string{false: "text", true: "bytes"}[bytes], rapid.MakeCheck(func(t *rapid.T) {
			limit := rapid.SampledFrom(limits).Draw(t, "limit")
			p := newPair(t, expressions(bytes).Draw(t, "expr"), bytes, limit)
			if p == nil {
				t.Skip("no expression")
			}
			for range 20 {
				p.check(t, texts.Draw(t, "s"))
			}
		}))
	}
}

// FuzzMatch: any expression, any text.
func FuzzMatch(f *testing.F) { fuzz(f, false) }

// FuzzMatchBinary is FuzzMatch for expressions over bytes.
func FuzzMatchBinary(f *testing.F) { fuzz(f, true) }

func fuzz(f *testing.F, bytes bool) {
	for _, seed := range [][2]string{
		{``, ``}, {`(?i)select`, "\u017felect"}, {`(?m)^a$`, "b\na\n"}, {`\bfoo\b`, "a foo"}, {`(?s)^.{3}$`, "\xe2\x82x"},
		{`[^a]\x{FFFD}`, "b\xff"}, {`a*\B$`, "aaa "}, {`(a|b)*a(a|b){5}`, "abababbabababa"}, {`\xff[\x80-\x90]`, "\xff\x81"},
		{`$^`, ""}, {`(?m)$\n^b`, "a\nb"}, {`\A\b`, "a"}, {`(?i)kiss`, "\u212Aiss"}, {`<[^>]*on\w+=`, "<a onload=x>"},
	} {
		f.Add(seed[0], seed[1])
	}
	for _, r := range crsRules() {
		if r.bytes == bytes && len(r.expr) < 80 {
			f.Add(r.expr, "GET /?a=1 OR 1=1 <script>")
		}
	}
	f.Fuzz(func(t *testing.T, expr, s string) {
		if len(expr) > 200 || len(s) > 2000 {
			return
		}
		for _, limit := range limits {
			if p := newPair(t, expr, bytes, limit); p != nil {
				p.check(t, s)
				p.check(t, s+s)
				p.check(t, "some text in front, then: "+s)
			}
		}
	})
}

// blowup needs a state for each of the last n characters being an a or not.
func blowup(n int) string { return fmt.Sprintf(`a[ab]{%d}[^ab]`, n) }

func randomText(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// TestBound: an attack on each expression takes no more than is promised, nor makes more
// states than the text has paid for.
func TestBound(t *testing.T) {
	const count = 40
	all := make([]*Regexp, count)
	var before, after runtime.MemStats
	for i := range all {
		var err error
		all[i], err = Compile(blowup(12 + i%8))
		require.NoError(t, err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	runtime.GC()
	runtime.ReadMemStats(&before)
	var read, flushes, fallbacks int
	for _, re := range all {
		for range 40 {
			s := randomText(r, "ab", 2000)
			read += len(s)
			re.Match(s)
		}
		s := re.Stats()
		require.LessOrEqual(t, s.Bytes, MaxBytes)
		require.Greater(t, s.Bytes, MaxBytes/2)
		flushes, fallbacks = flushes+s.Flushes, fallbacks+s.Fallbacks
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, int(after.HeapAlloc)-int(before.HeapAlloc), count*MaxBytes)
	require.NotZero(t, flushes)
	require.NotZero(t, fallbacks)
	// Each flush was paid for.
	full := MaxBytes / (4*all[0].program.stride() + 2*all[0].program.keep + stateBytes)
	require.LessOrEqual(t, flushes*full*bytesPerState, 2*read)
	runtime.KeepAlive(all)
}

// TestCoreRuleSetBound: 400 expressions at the bound are 50 MiB, and the rule set has fewer.
func TestCoreRuleSetBound(t *testing.T) {
	require.LessOrEqual(t, len(crsRules()), 400)
	require.LessOrEqual(t, 400*MaxBytes, 50<<20)
	for _, r := range crsRules() {
		re, err := compile(r.expr, r.bytes, MaxBytes)
		require.NoError(t, err)
		require.NotNil(t, re.program, "%q has no automaton", r.expr)
	}
}

// TestFlushKeepsPlace: a match goes on where it was when all states are dropped.
func TestFlushKeepsPlace(t *testing.T) {
	p := newPair(t, `\Ax[ab]*a[ab]{9}c\z`, false, 8<<10)
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		p.check(t, "x"+randomText(r, "ab", 300)+"a"+randomText(r, "ab", 9)+"c")
	}
	require.NotZero(t, p.ours.Stats().Flushes)
}

// TestFlushMakesRoom: after an attack ordinary texts get their states again.
func TestFlushMakesRoom(t *testing.T) {
	re, err := compile(blowup(12), false, 8<<10)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		re.Match(randomText(r, "ab", 1000))
	}
	attacked := re.Stats()
	require.NotZero(t, attacked.Fallbacks)
	ordinary := strings.Repeat("ordinary text, ", 100)
	for range 50 {
		re.Match(ordinary)
	}
	before := re.Stats()
	re.Match(ordinary)
	require.Equal(t, before, re.Stats())
}

func TestConcurrent(t *testing.T) {
	exprs := []string{blowup(10), `(?i)\bselect\b.*\bfrom\b`, `(?m)^a+b$`, `[^\x{80}-\x{7ff}]é`}
	for _, limit := range limits {
		for _, expr := range exprs {
			re, err := compile(expr, false, limit)
			require.NoError(t, err)
			theirs := regexp.MustCompile(expr)
			var group sync.WaitGroup
			for worker := range 8 {
				group.Go(func() {
					r := rand.New(rand.NewPCG(uint64(worker), 7))
					for range 150 {
						s := randomText(r, "abc \nésSelect from", 20+r.IntN(300))
						if want := theirs.MatchString(s); re.Match(s) != want {
							t.Errorf("%q in %q: want %v", expr, s, want)
						}
					}
				})
			}
			group.Wait()
		}
	}
}

func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	texts := crsTexts()
	texts = append(texts[:len(texts)/40:len(texts)/40], strings.Repeat("ordinary text, ", 1000))
	for n, r := range crsRules() {
		if n%10 != 0 && !r.bytes {
			continue
		}
		re, err := compile(r.expr, r.bytes, MaxBytes)
		require.NoError(t, err)
		run := func() {
			for _, s := range texts {
				re.Match(s)
			}
		}
		run()
		if re.Stats().Flushes+re.Stats().Fallbacks > 0 {
			continue
		}
		require.Zero(t, testing.AllocsPerRun(3, run), r.expr)
	}
}
