package edgewaf

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgewaf/crs"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// Defaults of a firewall.
const (
	// DefaultBudget is about half a second of one processor. At paranoia level 1 it lets
	// content of DefaultBodyLimit bytes with a thousand arguments and a third as many arrays
	// through.
	DefaultBudget        = 750_000_000
	DefaultWafStatus     = 403
	DefaultKeep          = 1000
	DefaultLogRate       = 200
	DefaultResponseLimit = 512 << 10
)

// Values of Basic.
const (
	BasicOn  = "on"
	BasicOff = "off"
)

// DefaultResponseTypes are the media types of responses that are looked at.
var DefaultResponseTypes = []string{"text/html", "text/plain", "text/xml", "application/json", "application/xml"}

// claim fails when another handler of this name is defined otherwise.
func (f *Firewall) claim(app *edgeapp.App) error {
	definition, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return app.Claim("edge_waf "+f.Name, string(definition))
}

// provisionOptions checks what needs no files, and fills in defaults.
func (f *Firewall) provisionOptions() error {
	if err := f.provisionEach(); err != nil {
		return err
	}
	return f.checkTogether()
}

// provisionEach is provisionOptions but for what options are together.
func (f *Firewall) provisionEach() error {
	for _, step := range []func() error{f.provisionName, f.provisionNumbers, f.provisionWords, f.provisionResponse, f.provisionCore} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// parsed returns a firewall with the same options, to be checked while these are parsed:
// to check them fills in defaults.
func (f *Firewall) parsed() *Firewall {
	out := *f
	if f.CRS != nil {
		o := *f.CRS
		out.CRS = &o
	}
	if f.Response != nil {
		o := *f.Response
		out.Response = &o
	}
	return &out
}

// checkTogether checks options that need others, or have no effect beside them.
func (f *Firewall) checkTogether() error {
	included := len(f.CRS.Include)+len(f.CRS.IncludeBefore) > 0
	switch {
	case f.Response != nil && f.CRS.Off && !included && len(f.Packs) == 0:
		return errors.New("response: there is no rule to look at it")
	case f.CRS.Off && !included && len(f.CRS.Exclude) > 0:
		return errors.New("crs: exclude: there is no rule to exclude: the rule set is off")
	}
	return nil
}

func (f *Firewall) provisionName() error {
	if f.Name == "" {
		f.Name = DefaultName
	}
	if err := checkName(f.Name); err != nil {
		return err
	}
	var err error
	if f.level, err = f.Mode.parse(levelEnforce); err != nil {
		return fmt.Errorf("mode: %w", err)
	}
	return nil
}

// provisionNumbers fills in numbers that are not given, and checks the others.
func (f *Firewall) provisionNumbers() error {
	if f.Sample == 0 {
		f.Sample = 100
	}
	if f.Sample < 0 || f.Sample > 100 {
		return fmt.Errorf("sample: invalid value %v: want more than 0 and at most 100", f.Sample)
	}
	keep, rate, status, notice := int64(f.Keep), int64(f.LogRate), int64(f.Status), int64(f.Notice)
	for _, n := range []struct {
		option      string
		value       *int64
		byDefault   int64
		least, most int64
		off         bool // -1 is a value
	}{
		{"body_limit", &f.Body.Limit, DefaultBodyLimit, 1, 64 << 20, true},
		{"budget", &f.Budget, DefaultBudget, 1, 1 << 50, true},
		{"keep", &keep, DefaultKeep, 1, 100000, false},
		{"log_rate", &rate, DefaultLogRate, 1, 1000000, false},
		{"status", &status, DefaultWafStatus, 400, 599, false},
		{"notice", &notice, int64(DefaultNotice), int64(time.Second), int64(24 * time.Hour), false},
	} {
		if *n.value == 0 {
			*n.value = n.byDefault
		}
		if *n.value == -1 && n.off {
			continue
		}
		if *n.value < n.least || *n.value > n.most {
			return fmt.Errorf("%s: invalid value %d: want %d to %d", n.option, *n.value, n.least, n.most)
		}
	}
	f.Keep, f.LogRate, f.Status, f.Notice = int(keep), int(rate), int(status), caddy.Duration(notice)
	return nil
}

// provisionWords fills in words that are not given, and checks the others.
func (f *Firewall) provisionWords() error {
	for _, w := range []struct {
		option string
		value  *string
		words  []string // the first is the default
	}{
		{"body_limit", &f.Body.OnLimit, []string{OnPass, OnReject}},
		{"on_budget", &f.OnBudget, []string{OnReject, OnPass}},
		{"respond", &f.Respond, []string{RespondAuto, RespondDirect, RespondError}},
		{"basic", &f.Basic, []string{BasicOn, BasicOff}},
	} {
		if *w.value == "" {
			*w.value = w.words[0]
		}
		if !slices.Contains(w.words, *w.value) {
			return fmt.Errorf("%s: invalid value %q: must be one of %s", w.option, *w.value, strings.Join(w.words, ", "))
		}
	}
	switch {
	case f.Body.Limit == -1 && (f.Body.OnLimit == OnReject || f.Body.Decode):
		return errors.New("body_limit: off: on_limit and decode have no effect")
	case f.Budget == -1 && f.OnBudget == OnPass:
		return errors.New("budget: off: on_budget has no effect")
	}
	if slices.Contains(f.Packs, "") {
		return fmt.Errorf("rules: a file has no name")
	}
	return nil
}

func (f *Firewall) provisionResponse() error {
	o := f.Response
	if o == nil {
		return nil
	}
	if len(o.Types) == 0 {
		o.Types = DefaultResponseTypes
	}
	for _, t := range o.Types {
		if m, params, err := mime.ParseMediaType(t); err != nil || len(params) > 0 || !strings.Contains(m, "/") || strings.ContainsAny(m, "*\"'") {
			return fmt.Errorf("response: types: invalid value %q: want a media type, such as text/html", t)
		}
		if strings.EqualFold(t, "text/event-stream") {
			return fmt.Errorf("response: types: %s: is a stream, which can't be looked at before it is sent", t)
		}
	}
	if o.Limit == 0 {
		o.Limit = DefaultResponseLimit
	}
	if o.Limit < 1 || o.Limit > 64<<20 {
		return fmt.Errorf("response: limit: invalid value %d: want 1 to %d", o.Limit, 64<<20)
	}
	if o.OnLimit == "" {
		o.OnLimit = OnPass
	}
	if o.OnLimit != OnPass && o.OnLimit != OnReject {
		return fmt.Errorf("response: on_limit: invalid value %q: must be one of %s, %s", o.OnLimit, OnPass, OnReject)
	}
	return nil
}

func (f *Firewall) provisionCore() error {
	if f.CRS == nil {
		f.CRS = new(crs.Options)
	}
	if err := f.CRS.Validate(); err != nil {
		return fmt.Errorf("crs: %w", err)
	}
	return nil
}

// limits are those of the engine.
func (f *Firewall) limits() crs.Limits {
	l := crs.Limits{Body: max(f.Body.Limit, 1), Response: 1}
	if f.Response != nil {
		l.Response, l.ResponseTypes = f.Response.Limit, f.Response.Types
	}
	return l
}
