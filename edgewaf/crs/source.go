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

// ofEngine are beginnings of directives that are about the engine and not about rules.
var ofEngine = []string{"secruleengine", "secauditengine", "secauditlog", "secdebuglog", "secrequestbody", "secresponsebody", "secdatadir", "secuploaddir", "sectmpdir", "secargumentslimit"}

// warningsOf lists the directives of a file that change what the edge has set.
func warningsOf(name string, list []statement) (warnings []string) {
	for _, s := range list {
		directive, _, _ := strings.Cut(strings.TrimSpace(s.text), " ")
		for _, begin := range ofEngine {
			if strings.HasPrefix(strings.ToLower(directive), begin) {
				warnings = append(warnings, fmt.Sprintf("%s:%d: %s", name, s.first, strings.TrimSpace(s.text)))
			}
		}
	}
	return warnings
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
