package rules

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// matched makes matches of a text such as "a:block! b:log | c:allow", where "!" means in
// force and "|" divides packs.
func matched(text string) (list []Match) {
	pack := new(Pack)
	for word := range strings.FieldsSeq(text) {
		if word == "|" {
			pack = new(Pack)
			continue
		}
		id, action, _ := strings.Cut(word, ":")
		name, force := strings.CutSuffix(action, "!")
		r := &Rule{ID: id, Pack: pack, Action: Action(slices.Index(actions, name))}
		if force {
			r.Mode = Enforce
		}
		list = append(list, Match{Rule: r})
	}
	return list
}

func (v Verdict) String() string {
	var list []string
	add := func(what string, rules ...*Rule) {
		for _, r := range rules {
			if r != nil {
				list = append(list, what+" "+r.ID)
			}
		}
	}
	add("block", v.Block)
	add("would", v.Would)
	add("allow", v.Allow)
	add("bypass", v.BypassCache)
	add("limit", v.Limits...)
	return strings.Join(list, ", ")
}

func TestDecide(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"a:log b:log":                  "",
		"a:block!":                     "block a",
		"a:block":                      "would a",
		"a:log b:block! c:block!":      "block b",
		"a:bypass_cache b:block!":      "block b, bypass a",
		"a:block! b:bypass_cache":      "block a, bypass b",
		"a:bypass_cache":               "bypass a",
		"a:limit! b:limit c:limit!":    "would b, limit a, limit c",
		"a:limit! b:block!":            "block b, limit a",
		"a:allow! b:block! c:limit!":   "allow a",
		"a:allow! b:log c:block!":      "allow a",
		"a:block! b:allow!":            "block a",
		"a:limit! b:allow! c:block!":   "allow b, limit a",
		"a:allow! | b:block!":          "block b",
		"a:allow! b:block! | c:block!": "block c, allow a",
		"a:block! | b:allow!":          "block a",
		"a:allow b:block!":             "block b",
		"a:allow b:block":              "",
		"a:allow! b:block":             "",
		"a:allow b:allow! c:block!":    "allow b",
		"a:block b:block!":             "block b, would a",
		"a:allow! b:bypass_cache":      "bypass b",
	} {
		require.Equal(t, want, Decide(matched(text), nil).String(), text)
	}
	list := matched("a:block! b:limit!")
	require.Equal(t, "would a, limit b", Decide(list, func(r *Rule) Mode {
		if r.ID == "a" {
			return Shadow
		}
		return r.Mode
	}).String(), "another may say what is in force")
}

// TestDecideProperties: a log changes nothing, an allow never reaches another pack, and
// what is in shadow mode never changes what is done.
func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{
			"x:log", "x:block", "x:block!", "x:allow", "x:allow!", "x:bypass_cache", "x:limit", "x:limit!", "|",
		}), 0, 10).Draw(t, "rules")
		list := matched(strings.Join(words, " "))
		all := Decide(list, nil)
		without := func(drop func(*Rule) bool) Verdict {
			return Decide(slices.DeleteFunc(slices.Clone(list), func(m Match) bool { return drop(m.Rule) }), nil)
		}
		require.Equal(t, all, without(func(r *Rule) bool { return r.Action == Log }))
		inForce := without(func(r *Rule) bool { return r.Mode == Shadow && r.Action != BypassCache })
		require.Equal(t, all.Block, inForce.Block)
		require.Equal(t, all.Limits, inForce.Limits)
		require.Equal(t, all.BypassCache, inForce.BypassCache)
		for _, m := range list {
			if m.Rule.Action != Block || m.Rule.Mode != Enforce {
				continue
			}
			spared := slices.ContainsFunc(list, func(other Match) bool {
				return other.Rule.Pack == m.Rule.Pack && other.Rule.Action == Allow && other.Rule.Mode == Enforce
			})
			require.True(t, spared || all.Block != nil)
		}
	})
}
