// Package ratefile reads rate-limit rules as small edge proxies publish them: a
// YAML file of rules with rate and burst, and of exemptions.
package ratefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
)

// File is the content of a file.
type File struct {
	// Rules are the limits. All that match a request apply.
	Rules []Rule `yaml:"rules"`
	// Exemptions are requests that no rule limits.
	Exemptions Exemptions `yaml:"exemptions"`
}

// Rule is one limit.
type Rule struct {
	// ID names the rule, in letters, digits, ".", "-" and "_"; it must be there, and
	// only once.
	ID string `yaml:"id"`
	// Key tells clients apart: "ip" (the default), "ip+path", or "header", with
	// the field's name in Header or as in "header:X-Api-Key".
	Key string `yaml:"key"`
	// Header is the field of the key "header". Default: X-Api-Key.
	Header string `yaml:"header"`
	// PathPrefix is what the path of a request begins with. Default: all paths.
	PathPrefix string `yaml:"path_prefix"`
	// Rate is how many requests a client may make in a second, above zero.
	Rate float64 `yaml:"rate"`
	// Burst is how many may come at once, at least 1, and as many as come in within
	// 208 days. Default: twice the rate.
	Burst *int `yaml:"burst"`
	// Enabled false turns the rule off. Default: true.
	Enabled *bool `yaml:"enabled"`
	// Description is for people only.
	Description string `yaml:"description"`
}

// On reports whether the rule is in force.
func (r *Rule) On() bool { return r.Enabled == nil || *r.Enabled }

// Exemptions are addresses and paths.
type Exemptions struct {
	// CIDRs are addresses or prefixes.
	CIDRs []string `yaml:"cidrs"`
	// Paths are whole paths, or what they begin with when they end with "*".
	Paths []string `yaml:"paths"`
}

// DefaultHeader is the field of the key "header" that names none.
const DefaultHeader = "X-Api-Key"

// MinRate, one in nearly four months, and MaxRate bound the rate of a rule.
const (
	MinRate = 1e-7
	MaxRate = 1e6
)

const wantRate = "requests per second, such as 5 or 0.5, from 0.0000001 to 1000000"

// MaxSize is the most that Parse reads, in bytes.
const MaxSize = 1 << 20

// Parse reads a file and checks it. Unknown fields are errors, so that a
// mistyped one is not taken for its default. Errors name the rule.
func Parse(text []byte) (*File, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%d bytes are more than %d", len(text), MaxSize)
	}
	f := new(File)
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(f); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there are no rules")
	} else if err != nil {
		return nil, fault(text, err)
	}
	if err := d.Decode(new(File)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is more than one document")
	}
	if len(f.Rules) == 0 {
		return nil, fmt.Errorf("there are no rules")
	}
	ids := make(map[string]bool, len(f.Rules))
	for i := range f.Rules {
		r := &f.Rules[i]
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("rule %d (id %q): %w", i+1, r.ID, err)
		}
		if ids[r.ID] {
			return nil, fmt.Errorf("rule %d (id %q): there are two rules of this id", i+1, r.ID)
		}
		ids[r.ID] = true
	}
	return f, f.Exemptions.check()
}

// check validates a rule and fills in its defaults.
func (r *Rule) check() error {
	if r.ID == "" {
		return fmt.Errorf("has no id")
	}
	if !validID(r.ID) {
		return fmt.Errorf("id: invalid value: want letters, digits, dots, - and _")
	}
	key, name, named := strings.Cut(r.Key, ":")
	if named && (key != "header" || r.Header != "") {
		return fmt.Errorf("key: invalid value %q: want ip, ip+path or header", r.Key)
	}
	switch {
	case key == "":
		key = "ip"
	case key == "header" && named:
		r.Header = name
	case key == "header" && r.Header == "":
		r.Header = DefaultHeader
	case key == "ip", key == "ip+path", key == "header":
	default:
		return fmt.Errorf("key: unknown value %q: want ip, ip+path or header", r.Key)
	}
	r.Key = key
	switch {
	case key == "header" && !validField(r.Header):
		return fmt.Errorf("header: invalid value %q: want the name of a field", r.Header)
	case key != "header" && r.Header != "":
		return fmt.Errorf("header: %q: only with the key header", r.Header)
	case r.PathPrefix != "" && r.PathPrefix[0] != '/':
		return fmt.Errorf("path_prefix: invalid value %q: must begin with /", r.PathPrefix)
	case strings.ContainsAny(r.PathPrefix, "*{"):
		return fmt.Errorf("path_prefix: invalid value %q: takes no wildcards", r.PathPrefix)
	case !(r.Rate >= MinRate) || r.Rate > MaxRate:
		return fmt.Errorf("rate: invalid value %s: want %s", strconv.FormatFloat(r.Rate, 'f', -1, 64), wantRate)
	case r.Burst == nil:
		twice := max(1, int(2*r.Rate))
		r.Burst = &twice
	case *r.Burst < 1:
		return fmt.Errorf("burst: invalid value %d: must be at least 1", *r.Burst)
	}
	n, per := r.Each()
	if _, err := gcra.Rate(float64(n), per, *r.Burst); err != nil {
		return fmt.Errorf("burst: invalid value %d at a rate of %s: %w", *r.Burst, strconv.FormatFloat(r.Rate, 'f', -1, 64), err)
	}
	return nil
}

// Each is the rate as whole requests in a time.
func (r *Rule) Each() (n int, per time.Duration) {
	if r.Rate == math.Trunc(r.Rate) {
		return int(r.Rate), time.Second
	}
	return 1, time.Duration(math.Round(float64(time.Second) / r.Rate))
}

// validID reports whether s can name a zone.
func validID(s string) bool {
	return strings.Trim(s, "-_.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// validField reports whether s can name a field (RFC 9110 section 5.1).
func validField(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func (e *Exemptions) check() error {
	for _, s := range e.CIDRs {
		p, err := netip.ParsePrefix(s)
		a := p.Addr()
		if err != nil {
			a, err = netip.ParseAddr(s)
		}
		if err != nil || a.Zone() != "" {
			return fmt.Errorf("exemptions: cidrs: invalid address or CIDR %q", s)
		}
		if a.Is4In6() {
			return fmt.Errorf("exemptions: cidrs: invalid address or CIDR %q: write IPv4 addresses as such", s)
		}
	}
	for _, p := range e.Paths {
		if p == "" || p[0] != '/' || strings.Contains(strings.TrimSuffix(p, "*"), "*") || strings.Contains(p, "{") {
			return fmt.Errorf("exemptions: paths: invalid path %q: must begin with / and may end with *", p)
		}
	}
	return nil
}
