package audit

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Tuner counts findings, to propose exceptions for those that were wrong. The zero value is
// ready to use.
type Tuner struct {
	groups map[group]*count
	events int
}

// group is what one exception would silence.
type group struct {
	rule, variable, path string
}

type count struct {
	n       int
	message string
	example string
	clients map[string]bool
}

// maxGroups bounds what a log can make a tuner keep.
const maxGroups = 100000

// Proposal is an exception that would silence some findings.
type Proposal struct {
	// Line is the exception, as an option of the Caddyfile.
	Line string `json:"line"`
	// Findings is how many it would silence, Clients from how many clients they came.
	Findings int    `json:"findings"`
	Clients  int    `json:"clients"`
	Message  string `json:"message,omitempty"`
	// Example is a request in which it was found, and what.
	Example string `json:"example,omitempty"`
}

// Add counts the findings of an event, if the request was refused or would have been.
func (t *Tuner) Add(e *Event) {
	if t.groups == nil {
		t.groups = make(map[group]*count)
	}
	t.events++
	if e.Action != "block" && e.Action != "shadow" {
		return // it would pass as it is
	}
	for _, f := range e.Findings {
		g := group{f.Rule, f.Variable, e.Path}
		c := t.groups[g]
		if c == nil {
			if len(t.groups) >= maxGroups {
				continue
			}
			c = &count{message: f.Message, example: strings.TrimSpace(e.Method + " " + e.Host + e.Path + " " + f.Excerpt), clients: make(map[string]bool)}
			t.groups[g] = c
		}
		c.n++
		if len(c.clients) < 1000 {
			c.clients[e.Client] = true
		}
	}
}

// Events returns how many events were counted.
func (t *Tuner) Events() int { return t.events }

// maxPaths is in how many paths one finding is a matter of each path. In more it is a
// matter of the site.
const maxPaths = 3

// Propose returns exceptions, those that would silence the most first. What is found in
// many paths becomes one exception for all.
func (t *Tuner) Propose() []Proposal {
	type place struct{ rule, variable string }
	places := make(map[place][]group)
	for g := range t.groups {
		p := place{g.rule, g.variable}
		places[p] = append(places[p], g)
	}
	lines := make(map[string]*count)
	add := func(line string, c *count) {
		sum := lines[line]
		if sum == nil {
			sum = &count{message: c.message, example: c.example, clients: make(map[string]bool)}
			lines[line] = sum
		}
		sum.n += c.n
		sum.example = min(sum.example, c.example)
		maps.Copy(sum.clients, c.clients)
	}
	for p, groups := range places {
		for _, g := range groups {
			path := g.path
			if len(groups) > maxPaths {
				path = ""
			}
			if line := Line(p.rule, p.variable, path); line != "" {
				add(line, t.groups[g])
			}
		}
	}
	var list []Proposal
	for line, c := range lines {
		list = append(list, Proposal{line, c.n, len(c.clients), c.message, c.example})
	}
	slices.SortFunc(list, func(a, b Proposal) int {
		return cmp.Or(b.Findings-a.Findings, b.Clients-a.Clients, strings.Compare(a.Line, b.Line))
	})
	return list
}

// own are the reasons of the firewall itself, which are not rules.
var own = map[string]bool{"body-limit": true, "budget": true, "engine": true, "response-limit": true}

// Line returns the exception, as an option of the Caddyfile, that silences a rule of the
// Core Rule Set for a variable such as ARGS:q, and in one path if that is given; or any
// other rule as a whole. It is empty where no exception would be right: for what is no rule,
// or when the names that there are would not be taken for what they are.
func Line(rule, variable, path string) string {
	collection, key, _ := strings.Cut(variable, ":")
	switch {
	case own[rule] || !exact(rule, "*"):
		return ""
	case !number(rule) || collection != strings.ToUpper(collection): // packs call places path and param q
		return "skip rule " + quote(rule)
	}
	line, where, lost := "exclude rule "+rule, "", false
	if key != "" {
		switch collection {
		case "ARGS", "ARGS_GET", "ARGS_POST":
			key = strings.TrimPrefix(key, "json.")
			where = " param " + quote(key)
		case "REQUEST_COOKIES":
			where = " cookie " + quote(key)
		case "REQUEST_HEADERS":
			where = " header " + quote(key)
		}
		if where != "" && !exact(key, "*") {
			where, lost = "", true
		}
	}
	if path != "" && exact(path, `*?[\%`) {
		return line + where + " path " + quote(path)
	}
	if where == "" && (lost || path != "") {
		return "" // for all requests, which nobody asked for
	}
	return line + where
}

// InCRS reports whether a line of Line belongs into the block crs of edge_waf, and not into
// edge_waf itself.
func InCRS(line string) bool { return strings.HasPrefix(line, "exclude ") }

func number(rule string) bool { return strings.Trim(rule, "0123456789") == "" }

// exact reports whether a name in a configuration stands for itself: it is neither cut nor
// cleaned, and has none of the signs of patterns.
func exact(name, signs string) bool {
	return name != "" && !strings.ContainsAny(name, signs+"…\uFFFD") && !strings.Contains(name, "{$")
}

// quote writes a word of the Caddyfile.
func quote(word string) string {
	if word == "" || strings.ContainsAny(word, " \t\r\n\"`{}#\\") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ", "\r", " ").Replace(word) + `"`
	}
	return word
}
