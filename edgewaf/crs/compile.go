package crs

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
)

// build compiles sources. It returns the engine and its rules, by id.
func build(list []source, f *files) (waf coraza.WAF, rules []Rule, err error) {
	// The engine keeps what it compiles by its text, over all operators, and panics when
	// two kinds of operators have the same.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the engine failed: %v", p)
		}
	}()
	config := coraza.NewWAFConfig().WithRootFS(f)
	config = experimental.WAFConfigWithRuleObserver(config, func(r types.RuleMetadata) {
		if r.ID() != 0 {
			rule := newRule(r)
			rule.File = f.name(rule.File)
			rules = append(rules, rule)
		}
	})
	for _, s := range list {
		if s.file != "" {
			config = config.WithDirectivesFromFile(f.root + s.file)
		} else {
			config = config.WithDirectives(s.text)
		}
	}
	if waf, err = coraza.NewWAF(config); err != nil {
		return nil, nil, errors.New(strings.ReplaceAll(err.Error(), f.root, ""))
	}
	slices.SortStableFunc(rules, func(a, b Rule) int { return a.ID - b.ID })
	return waf, rules, nil
}

// compile is build with an error that names file, line and rule.
func compile(list []source, f *files) (coraza.WAF, []Rule, error) {
	var names []string
	for _, s := range list {
		if s.file == "" {
			continue
		}
		if _, err := f.ReadFile(s.file); err != nil {
			return nil, nil, err
		}
		names = append(names, s.file)
	}
	if err := checkFiles(names, f); err != nil { // before anything that they say is done
		return nil, nil, err
	}
	waf, rules, err := build(list, f)
	if err != nil {
		return nil, nil, locate(list, f, err)
	}
	if err := checkFiles(names, f); err != nil { // now with all that they include
		_ = closeWAF(waf)
		return nil, nil, err
	}
	return waf, rules, nil
}

// checkFiles checks files of rules, and those that they include, as far as they were read.
func checkFiles(names []string, f *files) error {
	checked := make(map[string]bool)
	for ; len(names) > 0; names = names[1:] {
		name := names[0]
		text, read := f.read[name]
		if !read || checked[name] {
			continue
		}
		checked[name] = true
		list, err := statements(name, string(text))
		if err != nil {
			return err
		}
		if err := check(name, list); err != nil {
			return err
		}
		for _, pattern := range includes(name, list) {
			for _, other := range slices.Sorted(maps.Keys(f.read)) {
				if fits, _ := filepath.Match(pattern, other); fits || other == pattern {
					names = append(names, other)
				}
			}
		}
	}
	return nil
}

// locate finds the directive that the engine refused, which the engine does not tell: the
// last of the shortest beginning that fails.
func locate(list []source, f *files, cause error) error {
	fails := func(n int, last string) error {
		part := slices.Clone(list[:n])
		g := newFiles()
		if n > 0 && part[n-1].file != "" {
			g.overlay = map[string]string{part[n-1].file: last}
		}
		waf, _, err := build(part, g)
		if err == nil {
			_ = closeWAF(waf)
		}
		return err
	}
	for i, s := range list {
		if s.file == "" {
			if err := fails(i+1, ""); err != nil {
				return fmt.Errorf("the rules of the edge itself: %w", reason(err))
			}
			continue
		}
		text := string(f.read[s.file])
		if fails(i+1, text) == nil {
			continue
		}
		parts, err := statements(s.file, text)
		if err != nil {
			return err
		}
		upTo := func(n int) string {
			var b strings.Builder
			for _, part := range parts[:n] {
				b.WriteString(part.text)
				b.WriteByte('\n')
			}
			return b.String()
		}
		n := sort.Search(len(parts), func(n int) bool { return fails(i+1, upTo(n+1)) != nil })
		if n == len(parts) {
			return fmt.Errorf("%s: %w", s.file, reason(cause))
		}
		where := fmt.Sprintf("%s:%d", s.file, parts[n].first)
		if id := ruleID.FindStringSubmatch(parts[n].text); id != nil {
			where += ": rule " + id[1]
		}
		return fmt.Errorf("%s: %w", where, reason(fails(i+1, upTo(n+1))))
	}
	return reason(cause)
}

var ruleID = regexp.MustCompile(`[",\s]id:\s*'?(\d+)`)

// reason is the innermost part of an error of the engine, without the words about how it
// came to its text.
func reason(err error) error {
	text := err.Error()
	for _, prefix := range []string{"invalid WAF config from string: ", "invalid WAF config from file: ", "failed to parse string: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return errors.New(text)
}

// closeWAF gives back what an engine shares with others.
func closeWAF(waf coraza.WAF) error {
	if c, ok := waf.(experimental.WAFCloser); ok {
		return c.Close()
	}
	return nil
}
