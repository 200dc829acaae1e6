package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/coreos/go-semver/semver"
	"go.yaml.in/yaml/v3"
)

// Bounds of a pack.
const (
	// MaxSize is the most that a file may have, in bytes.
	MaxSize = 1 << 20
	// MaxRules is how many rules a pack may have.
	MaxRules = 5000
	// DefaultBodyLimit is how much of a body is looked at unless the pack says
	// otherwise, in bytes, and MaxBodyLimit the most that it may say.
	DefaultBodyLimit = 64 << 10
	MaxBodyLimit     = 16 << 20
)

// Pack is a file of rules. It must not be changed.
type Pack struct {
	// File is how the file is called in errors. It is no part of its identity.
	File string
	// Hash is the SHA-256 of the content, in hexadecimal: packs with the same hash
	// are the same.
	Hash string
	// Name and Version are what the pack says of itself, or empty. A version has a
	// name.
	Name, Version string
	// Requires is what must be there to use the pack, sorted by name.
	Requires []Requirement
	// Mode is that of rules that have none of their own. Default: Shadow.
	Mode Mode
	// BodyLimit is how many bytes at the beginning of a body the rules see.
	BodyLimit int
	// Rules are those of the file, in its order, also those that are off.
	Rules []*Rule
	// Warnings are what is allowed, and likely not meant.
	Warnings []string

	line    int // of the header
	version *semver.Version
}

// Read reads a pack of at most MaxSize bytes. See Parse.
func Read(file string, from io.Reader) (*Pack, error) {
	text, err := io.ReadAll(io.LimitReader(from, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%s: more than %d bytes", file, MaxSize)
	}
	return Parse(file, text)
}

// Parse reads a pack. The name of the file is for errors alone. Everything in it must be
// known and make sense, in rules that are off too: an error has file, line and rule of
// each fault, up to ten of them.
func Parse(file string, text []byte) (*Pack, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%s: %d bytes are more than %d", file, len(text), MaxSize)
	}
	s := &source{file: file}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: there are no rules", file)
	} else if err != nil {
		return nil, s.library(err)
	}
	if err := d.Decode(&more); err == nil {
		return nil, fmt.Errorf("%s:%d: there is more than one document", file, more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, s.library(err)
	}
	if s.plain(&doc); len(s.faults) > 0 {
		return nil, s.err()
	}
	sum := sha256.Sum256(text)
	p := &Pack{File: file, Hash: hex.EncodeToString(sum[:]), BodyLimit: DefaultBodyLimit, line: 1}
	s.pack(doc.Content[0], p)
	if err := s.err(); err != nil {
		return nil, err
	}
	p.Warnings = s.warnings
	return p, nil
}

// pack reads a whole file.
func (s *source) pack(n *yaml.Node, p *Pack) {
	var rules *yaml.Node
	s.each(n, "", func(field string, value *yaml.Node) bool {
		switch field {
		case "pack":
			s.header(value, p)
		case "mode":
			p.Mode = s.mode(value)
		case "max_body_inspect_bytes":
			p.BodyLimit = s.number(field, value, 1, MaxBodyLimit)
		case "rules":
			rules = value
		default:
			return false
		}
		return true
	})
	if n.Kind != yaml.MappingNode {
		return
	}
	if rules == nil {
		s.fault(n, "there are no rules")
		return
	}
	list := s.list("rules", rules, "rules")
	if len(list) > MaxRules {
		s.fault(rules, "rules: %d are more than %d", len(list), MaxRules)
		return
	}
	ids := make(map[string]int, len(list))
	for i, entry := range list {
		r := s.readRule(entry, i, p)
		if r.ID == "" {
			continue
		}
		if line, ok := ids[r.ID]; ok {
			s.fault(entry, "rule %s: there is another one of this id in line %d", r.ID, line)
			continue
		}
		ids[r.ID] = entry.Line
		p.Rules = append(p.Rules, r)
	}
}

// header reads the field pack.
func (s *source) header(n *yaml.Node, p *Pack) {
	p.line = n.Line
	s.each(n, "pack: ", func(field string, value *yaml.Node) bool {
		switch field {
		case "name":
			p.Name, _ = s.name("pack: name", value)
		case "version":
			if text, ok := s.text("pack: version", value); ok {
				v, err := parseVersion(text)
				if err != nil {
					s.fault(value, "pack: version: %v", err)
					break
				}
				p.Version, p.version = v.String(), v
			}
		case "requires":
			p.Requires = s.requirements(value)
		default:
			return false
		}
		return true
	})
	if n.Kind == yaml.MappingNode && get(n, "name") == nil {
		s.fault(n, "pack: has no name")
	}
}
