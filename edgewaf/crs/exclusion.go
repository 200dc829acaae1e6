package crs

import (
	"errors"
	"fmt"
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
	ids     []int
	targets []target // none: the rules as a whole
}

// target is what a rule does not look at.
type target struct {
	variable variables.RuleVariable
	key      string         // without a pattern
	pattern  *regexp.Regexp // against the key in lower case
}

// remover is what transactions of the engine offer besides their interface.
type remover interface {
	RemoveRuleByID(id int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, pattern *regexp.Regexp)
}

func (r *Removal) apply(tx remover) {
	for _, id := range r.ids {
		if len(r.targets) == 0 {
			tx.RemoveRuleByID(id)
		}
		for _, t := range r.targets {
			tx.RemoveRuleTargetByID(id, t.variable, t.key, t.pattern)
		}
	}
}

// look finds the rules of an exclusion. A rule or tag that is not there is an error:
// nobody wants to exclude a misspelt one.
func (e *Exclusion) look(rules []Rule) (*Removal, error) {
	out := &Removal{targets: e.targets()}
	chosen := make(map[int]bool)
	choose := func(what string, fits func(*Rule) bool) error {
		found := false
		for i := range rules {
			if fits(&rules[i]) {
				found, chosen[rules[i].ID] = true, true
			}
		}
		if !found {
			return fmt.Errorf("exclude: there is no %s", what)
		}
		return nil
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
		_ = choose("", func(*Rule) bool { return true })
	}
	for id := range chosen {
		out.ids = append(out.ids, id)
	}
	slices.Sort(out.ids)
	return out, nil
}

// targets are the variables that the exception names.
func (e *Exclusion) targets() []target {
	var list []target
	add := func(name string, collections ...variables.RuleVariable) {
		t := target{key: strings.ToLower(name)}
		if strings.ContainsRune(name, '*') {
			t.pattern = regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(t.key), `\*`, ".*") + "$")
			t.key = ""
		}
		for _, t.variable = range collections {
			list = append(list, t)
		}
	}
	for _, name := range e.Params {
		add(name, variables.Args, variables.ArgsGet, variables.ArgsPost)
		add(jsonPrefix+name, variables.Args, variables.ArgsPost)
	}
	for _, name := range e.Cookies {
		add(name, variables.RequestCookies)
	}
	for _, name := range e.Headers {
		add(name, variables.RequestHeaders)
	}
	return list
}

// jsonPrefix begins the names of arguments in JSON.
const jsonPrefix = "json."
