package cfparse_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

// parser returns a parser that stands on the option of line.
func parser(t testing.TB, line string) *cfparse.Parser {
	t.Helper()
	d := caddyfile.NewTestDispenser(line)
	require.True(t, d.Next())
	return cfparse.For(d, "edge_cache")
}

func TestValues(t *testing.T) {
	duration := func(p *cfparse.Parser) (any, error) { return p.Duration("opt") }
	durationOrOff := func(p *cfparse.Parser) (any, error) { return p.DurationOrOff("opt") }
	size := func(p *cfparse.Parser) (any, error) { return p.Size("opt") }
	integer := func(p *cfparse.Parser) (any, error) { return p.Int("opt", -1, 10) }
	ratio := func(p *cfparse.Parser) (any, error) { return p.Ratio("opt") }
	onOff := func(p *cfparse.Parser) (any, error) { return p.OnOff("opt") }
	flag := func(p *cfparse.Parser) (any, error) { return true, p.Flag("opt") }
	word := func(p *cfparse.Parser) (any, error) { return p.Word("opt", "soft", "hard") }
	anyWord := func(p *cfparse.Parser) (any, error) { return p.Word("opt") }
	words := func(p *cfparse.Parser) (any, error) { return p.Words("opt") }

	for _, test := range []struct {
		line  string
		parse func(*cfparse.Parser) (any, error)
		want  any
		err   string
	}{
		{"opt 90s", duration, 90 * time.Second, ""},
		{"opt 7d", duration, 7 * 24 * time.Hour, ""},
		{"opt 7d {\nx\n}", duration, 7 * 24 * time.Hour, ""},
		{"opt abc", duration, nil, `edge_cache: opt: invalid duration "abc": want one such as 90s, 1h30m or 7d, at Testfile:1`},
		{"opt 0", duration, nil, `edge_cache: opt: invalid duration "0": must be above zero`},
		{"opt -1s", duration, nil, `invalid duration "-1s": must be above zero`},
		{"opt off", duration, nil, `invalid duration "off"`},
		{"opt", duration, nil, "edge_cache: opt: needs a value"},
		{"opt 1s 2s", duration, nil, `edge_cache: opt: needs exactly one value, got "1s" "2s"`},
		{"opt off", durationOrOff, time.Duration(cfparse.Off), ""},
		{"opt 0", durationOrOff, nil, `edge_cache: opt: invalid duration "0": must be above zero, or off`},
		{"opt never", durationOrOff, nil, `invalid duration "never": want one such as 90s, 1h30m or 7d, or off`},
		{"opt 1m", durationOrOff, time.Minute, ""},
		{"opt -1m", durationOrOff, nil, "must be above zero, or off"},
		{"opt", durationOrOff, nil, "needs a value"},
		{"opt 64KiB", size, int64(64 << 10), ""},
		{"opt 64KB", size, int64(64_000), ""},
		{"opt 1", size, int64(1), ""},
		{"opt 0", size, nil, `edge_cache: opt: invalid size "0": must be above zero`},
		{"opt 9EiB", size, nil, "too large"},
		{"opt lots", size, nil, `edge_cache: opt: invalid size "lots": want bytes, such as 4096, 64KiB or 256MiB, at`},
		{"opt 10XB", size, nil, `invalid size "10XB": want bytes`},
		{"opt", size, nil, "needs a value"},
		{"opt 10", integer, int64(10), ""},
		{"opt -1", integer, int64(-1), ""},
		{"opt 11", integer, nil, `edge_cache: opt: invalid number "11": must be from -1 to 10`},
		{"opt -2", integer, nil, "must be from -1 to 10"},
		{"opt 1.5", integer, nil, `invalid number "1.5"`},
		{"opt", integer, nil, "needs a value"},
		{"opt 0.25", ratio, 0.25, ""},
		{"opt 1", ratio, 1.0, ""},
		{"opt NaN", ratio, nil, `edge_cache: opt: invalid ratio "NaN": must be from 0 to 1`},
		{"opt 1.1", ratio, nil, "must be from 0 to 1"},
		{"opt", ratio, nil, "needs a value"},
		{"opt", onOff, true, ""},
		{"opt on", onOff, true, ""},
		{"opt off", onOff, false, ""},
		{"opt yes", onOff, nil, `edge_cache: opt: expects on or off, got "yes"`},
		{"opt on off", onOff, nil, `expects on or off, got "on" "off"`},
		{"opt", flag, true, ""},
		{"opt x", flag, nil, `edge_cache: opt: takes no argument, got "x"`},
		{"opt soft", word, "soft", ""},
		{"opt x", word, nil, `edge_cache: opt: invalid value "x": must be one of soft, hard`},
		{"opt", word, nil, "needs a value"},
		{"opt x", anyWord, "x", ""},
		{"opt a b", words, []string{"a", "b"}, ""},
		{"opt", words, nil, "edge_cache: opt: needs at least one argument"},
	} {
		t.Run(test.line, func(t *testing.T) {
			got, err := test.parse(parser(t, test.line))
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				require.ErrorContains(t, err, "at Testfile:1")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestOnce(t *testing.T) {
	p := parser(t, "ttl")
	require.NoError(t, p.Once("ttl"))
	require.NoError(t, p.Once("stale"))
	require.ErrorContains(t, p.Once("ttl"), "edge_cache: ttl: given more than once")
	require.NoError(t, parser(t, "ttl").Once("ttl"))
}

func TestUnknown(t *testing.T) {
	require.ErrorContains(t, parser(t, "tll").Unknown("tll"), `edge_cache: unknown option "tll"`)
}

// FuzzNumbers: what is accepted is within its bounds, and the rest is an error
// that names the value.
func FuzzNumbers(f *testing.F) {
	for _, seed := range []string{"1", "-1", "1h", "7d", "64KiB", "9EiB", "0.5", "NaN", "Inf", "1e400", "off", "", "99999999999999999999d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		at := func() *cfparse.Parser {
			d := caddyfile.NewDispenser([]caddyfile.Token{{File: "f", Line: 1, Text: "opt"}, {File: "f", Line: 1, Text: value}})
			d.Next()
			return cfparse.For(d, "edge_cache")
		}
		check := func(valid bool, err error) {
			t.Helper()
			if err == nil {
				require.True(t, valid)
			} else if value != "{" {
				require.ErrorContains(t, err, "edge_cache: opt: invalid ")
				require.ErrorContains(t, err, strconv.Quote(value))
			}
		}
		d, err := at().Duration("opt")
		check(d > 0, err)
		d, err = at().DurationOrOff("opt")
		check(d > 0 || d == cfparse.Off && value == "off", err)
		size, err := at().Size("opt")
		check(size > 0, err)
		n, err := at().Int("opt", -5, math.MaxInt32)
		check(n >= -5 && n <= math.MaxInt32, err)
		r, err := at().Ratio("opt")
		check(r >= 0 && r <= 1, err)
	})
}
