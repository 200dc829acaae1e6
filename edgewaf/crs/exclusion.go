package crs

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// Exclusion takes rules out of the evaluation, as a whole or for single variables.
type Exclusion struct {
	// Rules are ids, or ranges of ids such as 942100-942199.
	Rules []string `json:"rules,omitempty"`
	// Tags are tags of rules, such as attack-sqli.
	Tags []string `json:"tags,omitempty"`
	// Params are names of arguments, in the query, a form or JSON, that are not looked
	// at: by those rules, or by any when there are none. Names of JSON are paths, such
	// as user.password. "*" stands for any part of a name.
	Params []string `json:"params,omitempty"`
	// Cookies and Headers are names of cookies and fields that are not looked at.
	Cookies []string `json:"cookies,omitempty"`
	Headers []string `json:"headers,omitempty"`
	// Paths are those for which the exception holds, as in Caddy's path matcher.
	// Default: all.
	Paths []string `json:"paths,omitempty"`

	// types are media types of the requests for which the exception holds. None: all.
	types []string
}

// Validate returns an error that names what is wrong.
func (e *Exclusion) Validate() error {
	if len(e.Rules)+len(e.Tags)+len(e.Params)+len(e.Cookies)+len(e.Headers) == 0 {
		return errors.New("needs a rule, a tag, a param, a cookie or a header")
	}
	for _, r := range e.Rules {
		if _, _, err := idRange(r); err != nil {
			return err
		}
	}
	for _, list := range [][]string{e.Tags, e.Params, e.Cookies, e.Headers, e.Paths} {
		if slices.Contains(list, "") {
			return errors.New("has an empty name")
		}
	}
	return nil
}

// idRange parses "942100" and "942100-942199".
func idRange(s string) (from, to int, err error) {
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil || from < 1 || to < from {
		return 0, 0, fmt.Errorf("rule: invalid id %q: want a number, or two with - between them", s)
	}
	return from, to, nil
}

// Removal takes rules out of the evaluation of single requests: an exclusion, looked up
// among the rules of a set.
type Removal struct {
	ids     []int    // as a whole
	targets []target // or only for these
	types   []string // media types of the requests for which it holds; none: any
}

// Numbered reports whether the exclusion names an argument by a name with a digit, which may
// be one place in an array of JSON.
func (r *Removal) Numbered() bool {
	return slices.ContainsFunc(r.targets, func(t target) bool {
		return t.kind == kindJSON && (strings.ContainsAny(t.key, "0123456789") || t.pattern != nil && strings.ContainsAny(t.pattern.String(), "0123456789"))
	})
}

// target is what rules do not look at.
type target struct {
	key     string         // without a pattern
	pattern *regexp.Regexp // against the key in lower case
	kind    kind
	// words must all be in the text of a request that has such a name.
	words []string
	// places are the collections, each with the rules that look at it.
	places []place
}

type place struct {
	variable variables.RuleVariable
	ids      []int
}

// kind is where a name stands in a request.
type kind int

const (
	kindParam kind = iota
	kindJSON
	kindCookie
	kindHeader
)

// remover is what transactions of the engine offer besides their interface.
type remover interface {
	RemoveRuleByID(id int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, pattern *regexp.Regexp)
}

// apply takes rules out of the evaluation of a request. What the request can't have is left
// out, since the engine takes its time for each rule and name.
func apply(tx remover, r *Request, removals []*Removal) {
	names := namesOf(r)
	for _, removal := range removals {
		if len(removal.types) > 0 && !slices.Contains(removal.types, names.mediaType()) {
			continue
		}
		for _, id := range removal.ids {
			tx.RemoveRuleByID(id)
		}
		for i := range removal.targets {
			t := &removal.targets[i]
			if !names.may(t) {
				continue
			}
			for _, p := range t.places {
				for _, id := range p.ids {
					tx.RemoveRuleTargetByID(id, p.variable, t.key, t.pattern)
				}
			}
		}
	}
}

// look finds the rules of an exclusion. A rule or tag that is not there is an error:
// nobody wants to exclude a misspelt one.
func (e *Exclusion) look(rules []Rule) (*Removal, error) {
	out := &Removal{types: e.types}
	chosen := make(map[int]bool)
	choose := func(what string, fits func(*Rule) bool) error {
		found, scores := false, false
		for i := range rules {
			switch {
			case !fits(&rules[i]):
			case bookkeeping(rules[i].ID): // without them nothing is ever refused
				scores = true
			default:
				found, chosen[rules[i].ID] = true, true
			}
		}
		switch {
		case found:
			return nil
		case scores:
			return fmt.Errorf("exclude: %s only adds up scores: exclude the rules that found something", what)
		}
		return fmt.Errorf("exclude: there is no %s", what)
	}
	for _, r := range e.Rules {
		from, to, err := idRange(r)
		if err != nil {
			return nil, fmt.Errorf("exclude: %w", err)
		}
		if err := choose("rule "+r, func(rule *Rule) bool { return rule.ID >= from && rule.ID <= to }); err != nil {
			return nil, err
		}
	}
	for _, tag := range e.Tags {
		if err := choose("rule with the tag "+tag, func(rule *Rule) bool { return slices.Contains(rule.Tags, tag) }); err != nil {
			return nil, err
		}
	}
	if len(e.Rules)+len(e.Tags) == 0 {
		_ = choose("rule", func(*Rule) bool { return true })
	}
	if targets := e.targets(); len(targets) > 0 {
		out.targets = targets
		for i := range targets {
			for n := range targets[i].places {
				p := &targets[i].places[n]
				for _, rule := range rules { // which are in order
					if chosen[rule.ID] && rule.looks.has(p.variable) {
						p.ids = append(p.ids, rule.ID)
					}
				}
			}
		}
		return out, nil
	}
	out.ids = slices.Sorted(maps.Keys(chosen))
	return out, nil
}

// targets are the variables that the exception names.
func (e *Exclusion) targets() []target {
	var list []target
	add := func(name string, kind kind, collections ...variables.RuleVariable) {
		t := target{key: strings.ToLower(name), kind: kind}
		if t.words = strings.Split(t.key, "*"); kind == kindJSON {
			// Its parts are in different places, and the numbers of places nowhere.
			t.words = strings.FieldsFunc(t.key, func(r rune) bool { return r == '.' || r == '*' })
			t.words = slices.DeleteFunc(t.words, func(word string) bool { return strings.Trim(word, "0123456789") == "" })
			t.key = jsonPrefix + t.key
		}
		if strings.ContainsRune(name, '*') {
			t.pattern = regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(t.key), `\*`, ".*") + "$")
			t.key = ""
		}
		for _, v := range collections {
			t.places = append(t.places, place{variable: v})
		}
		list = append(list, t)
	}
	for _, name := range e.Params {
		add(name, kindParam, variables.Args, variables.ArgsGet, variables.ArgsPost)
		add(name, kindJSON, variables.Args, variables.ArgsPost)
	}
	for _, name := range e.Cookies {
		add(name, kindCookie, variables.RequestCookies)
	}
	for _, name := range e.Headers {
		add(name, kindHeader, variables.RequestHeaders)
	}
	return list
}

// jsonPrefix begins the names of arguments in JSON.
const jsonPrefix = "json."
