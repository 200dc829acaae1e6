package crs

import (
	"fmt"
	"slices"
	"strings"
)

// Options say how the Core Rule Set is set up. The zero value is the set of its authors
// with two differences: PUT, PATCH and DELETE are allowed, and so are the content types
// that scripts in browsers send.
type Options struct {
	// Paranoia is the level up to which rules score, 1 to 4 (blocking_paranoia_level).
	// Higher ones find more, also in what is harmless. Default: 1.
	Paranoia int `json:"paranoia,omitempty"`
	// DetectionParanoia is the level up to which rules are evaluated and reported, from
	// Paranoia to 4 (detection_paranoia_level). Default: Paranoia.
	DetectionParanoia int `json:"detection_paranoia,omitempty"`
	// Inbound is the score with which a request is blocked, at least 1. A critical
	// finding scores 5, an error 4, a warning 3, a notice 2. Default: 5.
	Inbound int `json:"inbound,omitempty"`
	// Outbound is the score with which a response is blocked, at least 1. Default: 4.
	Outbound int `json:"outbound,omitempty"`
	// EarlyBlock decides about the header before the content is looked at, so that
	// rules about the content may not be reported. Default: false.
	EarlyBlock bool `json:"early_block,omitempty"`

	// AllowedMethods replace GET, HEAD, POST, OPTIONS, PUT, PATCH and DELETE.
	AllowedMethods []string `json:"allowed_methods,omitempty"`
	// AllowedContentTypes are media types that requests may have besides those of
	// DefaultContentTypes; the first being "only" replaces these.
	AllowedContentTypes []string `json:"allowed_content_types,omitempty"`
	// RestrictedExtensions replace the extensions of files that are not served, such as
	// ".bak".
	RestrictedExtensions []string `json:"restricted_extensions,omitempty"`
	// RestrictedHeaders replace the names of fields that requests must not have.
	// Default: those of the rule set but Expect, which Caddy answers itself, and
	// Content-Encoding where the content could be decoded.
	RestrictedHeaders []string `json:"restricted_headers,omitempty"`

	// MaxArgs is how many arguments a request may have, at least 1, in the query and
	// in the content each. Default: DefaultMaxArgs.
	MaxArgs int `json:"max_args,omitempty"`
	// MaxArgName and MaxArgValue are how many bytes the name and the value of an
	// argument may have, MaxArgsTotal all values together. Default: any number.
	MaxArgName   int `json:"max_arg_name,omitempty"`
	MaxArgValue  int `json:"max_arg_value,omitempty"`
	MaxArgsTotal int `json:"max_args_total,omitempty"`

	// Presets are named sets of exceptions.
	Presets []Preset `json:"presets,omitempty"`
	// Exclude are exceptions.
	Exclude []Exclusion `json:"exclude,omitempty"`

	// IncludeBefore and Include are files of rules in SecLang, read before and after the
	// rule set. "*" stands for part of a name.
	IncludeBefore []string `json:"include_before,omitempty"`
	Include       []string `json:"include,omitempty"`

	// Off leaves the Core Rule Set out, so that only included files are evaluated.
	// Default: false.
	Off bool `json:"off,omitempty"`
}

// DefaultMaxArgs is how many arguments a request may have.
const DefaultMaxArgs = 1000

var (
	// DefaultMethods are those that requests may have.
	DefaultMethods = []string{"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"}

	// DefaultContentTypes are those that the content of requests may have: the ones of
	// the rule set, more that are JSON, and what browsers send as beacons and reports.
	DefaultContentTypes = []string{
		"application/x-www-form-urlencoded", "multipart/form-data", "text/xml", "application/xml", "application/soap+xml",
		"application/json", "application/ld+json", "application/vnd.api+json", "application/merge-patch+json", "application/json-patch+json",
		"application/problem+json", "application/csp-report", "application/reports+json", "text/plain",
	}

	// restrictedHeaders are those of the rule set without Expect. Content-Encoding is
	// taken out for single requests.
	restrictedHeaders = []string{
		"content-encoding", "proxy", "lock-token", "content-range", "if", "x-http-method-override", "x-http-method", "x-method-override",
		"x-middleware-subrequest",
	}
)

// Validate sets defaults and returns an error that names the option and the value.
func (o *Options) Validate() error {
	if o.Paranoia == 0 {
		o.Paranoia = 1
	}
	if o.DetectionParanoia == 0 {
		o.DetectionParanoia = o.Paranoia
	}
	if o.Inbound == 0 {
		o.Inbound = 5
	}
	if o.Outbound == 0 {
		o.Outbound = 4
	}
	if o.MaxArgs == 0 {
		o.MaxArgs = DefaultMaxArgs
	}
	for _, n := range []struct {
		option       string
		value        int
		least, most  int
		optionalZero bool
	}{
		{"paranoia", o.Paranoia, 1, 4, false},
		{"detection_paranoia", o.DetectionParanoia, o.Paranoia, 4, false},
		{"inbound", o.Inbound, 1, 10000, false},
		{"outbound", o.Outbound, 1, 10000, false},
		{"max_args", o.MaxArgs, 1, 100000, false},
		{"max_arg_name", o.MaxArgName, 1, 1 << 30, true},
		{"max_arg_value", o.MaxArgValue, 1, 1 << 30, true},
		{"max_args_total", o.MaxArgsTotal, 1, 1 << 30, true},
	} {
		if n.optionalZero && n.value == 0 {
			continue
		}
		if n.value < n.least || n.value > n.most {
			return fmt.Errorf("%s: invalid value %d: want %d to %d", n.option, n.value, n.least, n.most)
		}
	}
	if err := o.validateWords(); err != nil {
		return err
	}
	if err := o.validateOff(); err != nil {
		return err
	}
	for i := range o.Presets {
		if err := o.Presets[i].Validate(); err != nil {
			return err
		}
	}
	for i := range o.Exclude {
		if err := o.Exclude[i].Validate(); err != nil {
			return fmt.Errorf("exclude: %w", err)
		}
	}
	for option, files := range map[string][]string{"include_before": o.IncludeBefore, "include": o.Include} {
		if slices.Contains(files, "") {
			return fmt.Errorf("%s: a file has no name", option)
		}
	}
	return nil
}

// validateOff returns an error for what has no effect without the rule set.
func (o *Options) validateOff() error {
	if !o.Off {
		return nil
	}
	for _, given := range []struct {
		option string
		given  bool
	}{
		{"detection_paranoia", o.DetectionParanoia != o.Paranoia}, {"inbound", o.Inbound != 5}, {"outbound", o.Outbound != 4},
		{"early_block", o.EarlyBlock}, {"allowed_methods", len(o.AllowedMethods) > 0}, {"allowed_content_types", len(o.AllowedContentTypes) > 0},
		{"restricted_extensions", len(o.RestrictedExtensions) > 0}, {"restricted_headers", len(o.RestrictedHeaders) > 0},
		{"max_arg_name", o.MaxArgName > 0}, {"max_arg_value", o.MaxArgValue > 0}, {"max_args_total", o.MaxArgsTotal > 0}, {"preset", len(o.Presets) > 0},
	} {
		if given.given {
			return fmt.Errorf("%s: has no effect: the rule set is off", given.option)
		}
	}
	return nil
}

// validateWords checks what becomes part of rules, so that no value can end its string.
func (o *Options) validateWords() error {
	for _, list := range []struct {
		option string
		words  []string
		signs  string // allowed besides letters and digits
	}{
		{"allowed_methods", o.AllowedMethods, "-_"},
		{"allowed_content_types", o.AllowedContentTypes, "/+-._"},
		{"restricted_extensions", o.RestrictedExtensions, ".-_"},
		{"restricted_headers", o.RestrictedHeaders, "-_"},
	} {
		for _, word := range list.words {
			if !plain(word, list.signs) {
				return fmt.Errorf("%s: invalid value %q", list.option, word)
			}
		}
	}
	for _, word := range o.AllowedContentTypes {
		if word != Only && strings.Count(word, "/") != 1 {
			return fmt.Errorf("allowed_content_types: invalid value %q: want a media type, such as application/json", word)
		}
	}
	return nil
}

// Only in front of a list of content types has it replace the default.
const Only = "only"

// contentTypes returns the media types that requests may have.
func (o *Options) contentTypes() []string {
	list := o.AllowedContentTypes
	if o.onlyTypes() {
		return list[1:]
	}
	all := slices.Concat(DefaultContentTypes, list)
	for _, p := range o.Presets {
		if len(p.paths()) == 0 {
			all = append(all, presets[p.Name].contentTypes...)
		}
	}
	return all
}

// onlyTypes reports whether the list of content types replaces the default.
func (o *Options) onlyTypes() bool {
	return len(o.AllowedContentTypes) > 0 && o.AllowedContentTypes[0] == Only
}

// plain reports whether a word has only letters, digits and some signs, and any.
func plain(word, signs string) bool {
	for i := range len(word) {
		c := word[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(signs, c) < 0 {
			return false
		}
	}
	return word != ""
}
