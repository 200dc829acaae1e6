package crs

import (
	"fmt"
	"path/filepath"
	"strings"
)

// source is a part of a rule set, in the order of evaluation: text of this package, or a
// file.
type source struct {
	text string
	file string // absolute
}

// sources lists what a rule set is made of.
func (o *Options) sources(limits Limits) ([]source, error) {
	list := []source{{text: o.head(limits)}}
	add := func(option string, patterns []string) error {
		for _, pattern := range patterns {
			absolute, err := filepath.Abs(pattern)
			if err != nil {
				return fmt.Errorf("%s: %w", option, err)
			}
			names, err := expand(absolute)
			if err != nil {
				return fmt.Errorf("%s: %w", option, err)
			}
			for _, name := range names {
				list = append(list, source{file: name})
			}
		}
		return nil
	}
	if !o.Off {
		list = append(list, source{text: o.setup()})
	}
	if err := add("include_before", o.IncludeBefore); err != nil {
		return nil, err
	}
	if !o.Off {
		list = append(list, source{text: "Include @owasp_crs/*.conf\n"})
	}
	return list, add("include", o.Include)
}

// maxLine is the longest line that the engine reads. It would leave out what follows a
// longer one, without a word.
const maxLine = 64<<10 - 1

// statement is a directive with its lines.
type statement struct {
	first, last int // numbers of lines, from 1
	text        string
}

// ofRules are the directives that are about rules. All others are about the engine, which is
// set up by options, or have no effect.
var ofRules = map[string]bool{
	"secrule": true, "secaction": true, "secmarker": true, "secdefaultaction": true, "secdataset": true, "secruleremovebyid": true, "secruleremovebymsg": true,
	"secruleremovebytag": true, "secruleupdateactionbyid": true, "secruleupdatetargetbyid": true, "secruleupdatetargetbytag": true,
	"seccomponentsignature": true, "secwebappid": true, "include": true,
}

// instead says what to do in place of a directive, by how it begins.
var instead = []struct{ begin, text string }{
	{"secruleengine", "use the option mode of edge_waf"},
	{"secargumentslimit", "use the option max_args of crs"},
	{"secrequestbody", "use the option body_limit of edge_waf"},
	{"secresponsebody", "use the option response of edge_waf"},
	{"secaudit", "what is found goes to the log of Caddy"},
	{"secdebuglog", "what is found goes to the log of Caddy"},
	{"secignorerule", "errors are not ignored"},
	{"sec", "it is not known, or has no effect here"},
}

// check refuses directives of a file that would change what the edge has set, or do nothing.
// What is no directive is left to the engine, which says so.
func check(name string, list []statement) error {
	for _, s := range list {
		directive := s.directive()
		if ofRules[strings.ToLower(directive)] {
			continue
		}
		for _, i := range instead {
			if strings.HasPrefix(strings.ToLower(directive), i.begin) {
				return fmt.Errorf("%s:%d: %s: files have rules alone: %s", name, s.first, directive, i.text)
			}
		}
	}
	return nil
}

// directive is the first word of a statement.
func (s *statement) directive() string {
	if words := strings.Fields(s.text); len(words) > 0 {
		return words[0]
	}
	return ""
}

// includes returns the patterns of the files that a file includes.
func includes(name string, list []statement) (patterns []string) {
	for _, s := range list {
		if !strings.EqualFold(s.directive(), "include") {
			continue
		}
		pattern := strings.Trim(strings.TrimSpace(strings.TrimSpace(s.text)[len("include"):]), `"`)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		patterns = append(patterns, pattern)
	}
	return patterns
}

// statements splits a file of rules into directives, as the engine does.
func statements(name, text string) ([]statement, error) {
	var (
		list  []statement
		s     strings.Builder
		first int
		quote bool
	)
	for i, line := range strings.SplitAfter(text, "\n") {
		number := i + 1
		if len(line) > maxLine {
			return nil, fmt.Errorf("%s:%d: line of %d bytes: want %d at most", name, number, len(line), maxLine)
		}
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if s.Len() == 0 {
			first = number
		}
		s.WriteString(line)
		switch {
		case !quote && strings.HasSuffix(trimmed, "`"):
			quote = true
		case quote && trimmed[0] == '`':
			quote = false
		}
		if quote || strings.HasSuffix(trimmed, `\`) {
			continue
		}
		list = append(list, statement{first, number, s.String()})
		s.Reset()
	}
	if s.Len() > 0 {
		return nil, fmt.Errorf("%s:%d: the last directive is not complete", name, first)
	}
	return list, nil
}
