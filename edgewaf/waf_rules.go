package edgewaf

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgewaf/crs"
	"github.com/caddyedge/caddy-edge/edgewaf/rules"
)

// MatcherRule is a rule by Caddy's matchers.
type MatcherRule struct {
	// Action is "block" or "log", or "skip" or "shadow", which concern other rules.
	Action string `json:"action"`
	// ID identifies the rule of a block or log: letters, digits, "-", "_" and ".".
	// Default: the action and its place among the rules, from 1.
	ID string `json:"id,omitempty"`
	// MatcherSetsRaw select the requests. Default: all.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`
	// Status is that of a block, 400 to 599. Default: the firewall's.
	Status int `json:"status,omitempty"`

	// IDs and Tags are the rules that skip or shadow concern, of the Core Rule Set, of
	// packs, and of matchers. Ids of the Core Rule Set may be ranges.
	IDs  []string `json:"ids,omitempty"`
	Tags []string `json:"tags,omitempty"`
	// All has skip or shadow concern all rules.
	All bool `json:"all,omitempty"`

	matchers caddyhttp.MatcherSets
}

// Values of MatcherRule.Action.
const (
	MatchBlock  = "block"
	MatchLog    = "log"
	MatchSkip   = "skip"
	MatchShadow = "shadow"
)

// matches reports whether the rule is for a request.
func (m *MatcherRule) matches(r *http.Request) (bool, error) { return m.matchers.AnyMatchWithError(r) }

// ruleSet is all rules but those of the engine.
type ruleSet struct {
	packs    *rules.Set
	matchers []*MatcherRule // that block or log
	phase    int            // rules of the engine in the request phases
}

// choice takes rules out, or puts them into shadow mode, for some requests.
type choice struct {
	matcher *MatcherRule
	paths   caddyhttp.MatchPath
	shadow  bool
	all     bool
	core    *crs.Removal // nil: no rule of the engine
	ids     map[string]bool
}

func (c *choice) matches(r *http.Request) (bool, error) {
	if c.matcher != nil {
		return c.matcher.matches(r)
	}
	return c.paths.MatchWithError(r)
}

// provisionRules reads and compiles all rules.
func (f *Firewall) provisionRules(ctx caddy.Context) error {
	if err := f.provisionPacks(); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	for i, m := range f.Rules {
		if err := f.provisionMatcher(ctx, i, m); err != nil {
			return fmt.Errorf("%s: %w", m.Action, err)
		}
	}
	if err := f.provisionEngine(); err != nil {
		return fmt.Errorf("crs: %w", err)
	}
	for _, m := range f.Rules {
		if m.Action != MatchSkip && m.Action != MatchShadow {
			continue
		}
		c, err := f.choose(m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Action, err)
		}
		f.choices = append(f.choices, c)
	}
	return nil
}

func (f *Firewall) provisionMatcher(ctx caddy.Context, place int, m *MatcherRule) error {
	if m.MatcherSetsRaw != nil {
		loaded, err := ctx.LoadModule(m, "MatcherSetsRaw")
		if err != nil {
			return fmt.Errorf("loading matchers: %w", err)
		}
		if err := m.matchers.FromInterface(loaded); err != nil {
			return err
		}
	}
	chooses := len(m.IDs)+len(m.Tags) > 0 || m.All
	switch m.Action {
	case MatchBlock, MatchLog:
		if chooses {
			return errors.New("takes no ids, tags or all: these are for skip and shadow")
		}
		if m.Status != 0 && (m.Action == MatchLog || m.Status < 400 || m.Status > 599) {
			return fmt.Errorf("status: invalid value %d: want 400 to 599, for block", m.Status)
		}
		if m.ID == "" {
			m.ID = m.Action + "-" + strconv.Itoa(place+1)
		}
		if err := checkName(m.ID); err != nil {
			return fmt.Errorf("id: %w", err)
		}
		if f.rules.packs.Rule(m.ID) != nil || slices.ContainsFunc(f.rules.matchers, func(o *MatcherRule) bool { return o.ID == m.ID }) {
			return fmt.Errorf("id: there is another rule %q", m.ID)
		}
		f.rules.matchers = append(f.rules.matchers, m)
	case MatchSkip, MatchShadow:
		if !chooses || m.All && len(m.IDs)+len(m.Tags) > 0 {
			return errors.New("needs ids, tags, or all")
		}
		if m.ID != "" || m.Status != 0 {
			return errors.New("takes no id and no status: these are for block and log")
		}
	default:
		return fmt.Errorf("action: invalid value %q: must be one of block, log, skip, shadow", m.Action)
	}
	return nil
}

// provisionEngine compiles the rules of the engine, or takes those that there are.
func (f *Firewall) provisionEngine() error {
	if f.CRS.Off && len(f.CRS.Include)+len(f.CRS.IncludeBefore) == 0 {
		return nil
	}
	var err error
	if f.engine, err = takeEngine(f.CRS, f.limits()); err != nil {
		return err
	}
	engine := f.engine.Value()
	for _, r := range engine.Rules() {
		if r.Phase <= 2 {
			f.rules.phase++
		}
	}
	if least := f.Body.Limit * int64(f.rules.phase); f.Budget > 0 && f.OnBudget == OnReject && f.Body.Limit > DefaultBodyLimit && least > f.Budget {
		return fmt.Errorf("body_limit: content of %d bytes is more work than budget allows: want a budget of %d at least, or pass", f.Body.Limit, least)
	}
	always, conditional := f.CRS.Exclusions()
	for _, e := range always {
		removal, err := engine.Removal(&e)
		if err != nil {
			return err
		}
		f.core = append(f.core, removal)
	}
	if types := f.CRS.AllowedContentTypes; !f.CRS.Off && (len(types) == 0 || types[0] != crs.Only) {
		if f.structured, err = engine.Removal(&crs.Exclusion{Rules: []string{crs.RuleContentType}}); err != nil {
			return err
		}
	}
	for _, e := range conditional {
		removal, err := engine.Removal(&e)
		if err != nil {
			return err
		}
		paths := caddyhttp.MatchPath(slices.Clone(e.Paths))
		if err := paths.Provision(caddy.Context{}); err != nil {
			return err
		}
		f.choices = append(f.choices, choice{paths: paths, core: removal})
	}
	return nil
}

// choose looks up what a skip or shadow concerns.
func (f *Firewall) choose(m *MatcherRule) (choice, error) {
	c := choice{matcher: m, shadow: m.Action == MatchShadow, all: m.All, ids: make(map[string]bool)}
	var core crs.Exclusion
	for _, id := range m.IDs {
		own := f.rules.packs.Rule(id) != nil || slices.ContainsFunc(f.rules.matchers, func(o *MatcherRule) bool { return o.ID == id })
		if own {
			c.ids[id] = true
		}
		number := strings.Trim(id, "0123456789-") == ""
		switch {
		case number && (!own || f.hasRule(id)):
			core.Rules = append(core.Rules, id)
		case !own:
			return c, fmt.Errorf("there is no rule %q", id)
		}
	}
	for _, tag := range m.Tags {
		found := false
		for _, r := range f.rules.packs.Rules() {
			if slices.Contains(r.Tags, tag) {
				c.ids[r.ID], found = true, true
			}
		}
		if f.hasTag(tag) {
			core.Tags = append(core.Tags, tag)
		} else if !found {
			return c, fmt.Errorf("there is no rule with the tag %q", tag)
		}
	}
	if len(core.Rules)+len(core.Tags) == 0 {
		return c, nil
	}
	if f.engine == nil {
		return c, fmt.Errorf("there is no rule %s: the rule set is off", strings.Join(core.Rules, " "))
	}
	var err error
	c.core, err = f.engine.Value().Removal(&core)
	return c, err
}

// hasRule reports whether the engine has a rule of an id, or of a range of them.
func (f *Firewall) hasRule(id string) bool {
	if f.engine == nil {
		return false
	}
	_, err := f.engine.Value().Removal(&crs.Exclusion{Rules: []string{id}})
	return err == nil
}

// hasTag reports whether a rule of the engine has a tag.
func (f *Firewall) hasTag(tag string) bool {
	return f.engine != nil && slices.ContainsFunc(f.engine.Value().Rules(), func(r crs.Rule) bool { return slices.Contains(r.Tags, tag) })
}
