package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// source is a file that is being read. It collects what is wrong with it.
type source struct {
	file string
	// rule is how the rule that is being read is called, or empty.
	rule string
	// weight is that of all patterns so far.
	weight   int
	faults   []error
	left     int // how many faults were left out
	warnings []string
}

// maxFaults is how many faults are told of one file.
const maxFaults = 10

func (s *source) fault(n *yaml.Node, format string, args ...any) {
	if len(s.faults) == maxFaults {
		s.left++
		return
	}
	s.faults = append(s.faults, errors.New(s.at(n)+fmt.Sprintf(format, args...)))
}

func (s *source) warn(n *yaml.Node, format string, args ...any) {
	if len(s.warnings) < maxFaults {
		s.warnings = append(s.warnings, s.at(n)+fmt.Sprintf(format, args...))
	}
}

// at says where a node is: file, line and rule.
func (s *source) at(n *yaml.Node) string {
	where := fmt.Sprintf("%s:%d: ", s.file, n.Line)
	if s.rule != "" {
		where += "rule " + s.rule + ": "
	}
	return where
}

// err joins the faults.
func (s *source) err() error {
	if s.left > 0 {
		return errors.Join(append(s.faults, fmt.Errorf("%s: and %d more", s.file, s.left))...)
	}
	return errors.Join(s.faults...)
}

// libraryLine is how the YAML library tells of lines.
var libraryLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// library puts an error of the YAML library in terms of the file.
func (s *source) library(err error) error {
	said := err.Error()
	m := libraryLine.FindStringSubmatch(said)
	if m == nil {
		return fmt.Errorf("%s: %w", s.file, err)
	}
	where := s.file + ": "
	if m[1] != "" {
		where = s.file + ":" + m[1] + ": "
	}
	return errors.New(where + "invalid YAML: " + said[len(m[0]):])
}

// plain refuses aliases, with which a small file stands for a huge one, and tags that
// this package does not know.
func (s *source) plain(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		s.fault(n, "anchors and aliases are not supported")
		return
	case n.Style&yaml.TaggedStyle != 0:
		s.fault(n, "tags such as %q are not supported", shorten(n.Tag))
		return
	}
	for _, child := range n.Content {
		s.plain(child)
	}
}

// each calls read for each field of a mapping. Read reports whether there is such a
// field.
func (s *source) each(n *yaml.Node, what string, read func(field string, value *yaml.Node) bool) {
	if n.Kind != yaml.MappingNode {
		s.fault(n, "%sinvalid value %s: want fields, each with a value", what, show(n))
		return
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			s.fault(key, "%sinvalid field: want a name", what)
		case seen[key.Value]:
			s.fault(key, "%s%s: is there twice", what, shorten(key.Value))
		case !read(key.Value, value):
			s.fault(key, "%sunknown field %q", what, shorten(key.Value))
		}
		seen[key.Value] = true
	}
}

// get returns the value of a field of a mapping, or nil.
func get(n *yaml.Node, field string) *yaml.Node {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == field {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// text reads a text, which must not be empty. Numbers are texts too, such as an id of
// digits.
func (s *source) text(field string, n *yaml.Node) (string, bool) {
	if !isText(n) {
		s.fault(n, "%s: invalid value %s: want a text", field, show(n))
		return "", false
	}
	if n.Value == "" {
		s.fault(n, "%s: is empty", field)
		return "", false
	}
	return n.Value, true
}

func isText(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!timestamp":
		return utf8.ValidString(n.Value)
	}
	return false
}

// texts reads a text or a list of them.
func (s *source) texts(field string, n *yaml.Node) (list []string) {
	if n.Kind != yaml.SequenceNode {
		if one, ok := s.text(field, n); ok {
			list = []string{one}
		}
		return list
	}
	if len(n.Content) == 0 {
		s.fault(n, "%s: is empty", field)
	}
	for _, entry := range n.Content {
		if one, ok := s.text(field, entry); ok {
			list = append(list, one)
		}
	}
	return list
}

// maxName bounds ids, tags and names, which go to logs and metrics.
const maxName = 128

// name reads a text that is printed in one piece.
func (s *source) name(field string, n *yaml.Node) (string, bool) {
	name, ok := s.text(field, n)
	if !ok {
		return "", false
	}
	if len(name) > maxName {
		s.fault(n, "%s: %d bytes are more than %d", field, len(name), maxName)
		return "", false
	}
	if strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s.fault(n, "%s: invalid value %q: want printable characters without spaces around them", field, name)
		return "", false
	}
	return name, true
}

// id reads what identifies a rule. It goes into refusals in JSON, labels, and lines of
// configurations as it is.
func (s *source) id(field string, n *yaml.Node) (string, bool) {
	id, ok := s.name(field, n)
	if ok && strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.:", r)
	}) {
		s.fault(n, "%s: invalid value %q: want letters, digits, -, _, . and :", field, id)
		return "", false
	}
	return id, ok
}

// flag reads a truth value. What YAML 1.1 takes for one is accepted, as in the
// published format.
func (s *source) flag(field string, n *yaml.Node) (value bool) {
	if err := n.Decode(&value); err != nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		s.fault(n, "%s: invalid value %s: want true or false", field, show(n))
	}
	return value
}

// number reads a whole number within bounds.
func (s *source) number(field string, n *yaml.Node, low, high int) int {
	var value int
	if err := n.Decode(&value); err != nil || n.ShortTag() != "!!int" || value < low || value > high {
		s.fault(n, "%s: invalid value %s: want a whole number from %d to %d", field, show(n), low, high)
		return low
	}
	return value
}

// list returns the entries of a list.
func (s *source) list(field string, n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		s.fault(n, "%s: invalid value %s: want a list of %s", field, show(n), what)
		return nil
	}
	if len(n.Content) == 0 {
		s.fault(n, "%s: is empty", field)
	}
	return n.Content
}

// choose reads one of several words.
func choose[T any](s *source, field string, n *yaml.Node, words []string, values []T) (value T) {
	for i, word := range words {
		if n.Kind == yaml.ScalarNode && n.Value == word {
			return values[i]
		}
	}
	s.fault(n, "%s: unknown value %s: want %s", field, show(n), orList(words))
	return value
}

// orList writes "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// show writes a value for an error.
func show(n *yaml.Node) string {
	switch n.Kind { //nolint:exhaustive // what there is besides is refused before
	case yaml.MappingNode:
		return "(fields)"
	case yaml.SequenceNode:
		return "(a list)"
	}
	return strconv.Quote(shorten(n.Value))
}

// shorten keeps the text of an error readable.
func shorten(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
