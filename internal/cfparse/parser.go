// Package cfparse parses the values of Caddyfile options. Every error names
// the directive, the option and the offending value, followed by the position
// in the file:
//
//	edge_cache: ttl: invalid duration "abc": ..., at Caddyfile:12
package cfparse

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Parser reads the options of one directive's block.
//
// Each method expects the dispenser to stand on the option's name and consumes
// the arguments that follow on the same line. A block that an option opens is
// left to the caller.
//
// A Parser is not safe for concurrent use.
type Parser struct {
	d         *caddyfile.Dispenser
	directive string
	seen      map[string]struct{}
}

// For returns a parser over d whose errors begin with directive.
func For(d *caddyfile.Dispenser, directive string) *Parser {
	return &Parser{d: d, directive: directive, seen: make(map[string]struct{})}
}

// Once fails when it is called for the second time with the same option.
func (p *Parser) Once(option string) error {
	if _, ok := p.seen[option]; ok {
		return p.Errf(option, "given more than once")
	}
	p.seen[option] = struct{}{}
	return nil
}

// Flag expects no argument at all.
func (p *Parser) Flag(option string) error {
	if args := p.d.RemainingArgs(); len(args) > 0 {
		return p.Errf(option, "takes no argument, got %s", quote(args))
	}
	return nil
}

// OnOff expects "on", "off" or nothing, which means on.
func (p *Parser) OnOff(option string) (bool, error) {
	args := p.d.RemainingArgs()
	switch {
	case len(args) == 0:
		return true, nil
	case len(args) > 1:
		return false, p.Errf(option, "expects on or off, got %s", quote(args))
	case args[0] == "on":
		return true, nil
	case args[0] == "off":
		return false, nil
	default:
		return false, p.Errf(option, "expects on or off, got %q", args[0])
	}
}

// Word expects exactly one argument, which must be one of allowed unless
// allowed is empty.
func (p *Parser) Word(option string, allowed ...string) (string, error) {
	word, err := p.one(option)
	if err != nil || len(allowed) == 0 {
		return word, err
	}
	if slices.Contains(allowed, word) {
		return word, nil
	}
	return "", p.Errf(option, "invalid value %q: must be one of %s", word, strings.Join(allowed, ", "))
}

// Words expects one argument or more.
func (p *Parser) Words(option string) ([]string, error) {
	args := p.d.RemainingArgs()
	if len(args) == 0 {
		return nil, p.Errf(option, "needs at least one argument")
	}
	return args, nil
}

// Unknown is the error for an option that the directive does not have.
func (p *Parser) Unknown(option string) error {
	return p.d.Errf("%s: unknown option %q", p.directive, option)
}

// Errf is an error about option in the form of the package's own errors.
func (p *Parser) Errf(option, format string, args ...any) error {
	return p.d.WrapErr(fmt.Errorf("%s: %s: %w", p.directive, option, fmt.Errorf(format, args...)))
}

// one consumes the line's arguments and returns the only one.
func (p *Parser) one(option string) (string, error) {
	args := p.d.RemainingArgs()
	switch len(args) {
	case 0:
		return "", p.Errf(option, "needs a value")
	case 1:
		return args[0], nil
	default:
		return "", p.Errf(option, "needs exactly one value, got %s", quote(args))
	}
}

func quote(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = strconv.Quote(a)
	}
	return strings.Join(quoted, " ")
}
