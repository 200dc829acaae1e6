package edgecache

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

func (c *Handler) parseRule(h httpcaddyfile.Helper) error {
	p := cfparse.For(h.Dispenser, directive+": rule")
	matcher, err := matcherOf(h, "rule")
	if err != nil {
		return err
	}
	if h.NextArg() {
		return h.Errf("%s: rule: takes one matcher and a block, got %q", directive, h.Val())
	}
	rule := &Rule{MatcherSetsRaw: caddyhttp.RawMatcherSets{matcher}}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		if !repeatable[option] {
			if err := p.Once(option); err != nil {
				return err
			}
		}
		known, err := rule.parseFreshness(h, p, option)
		switch {
		case known:
		case option == "bypass":
			rule.Bypass, err = true, p.Flag(option)
		default:
			err = p.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	c.Rules = append(c.Rules, rule)
	return nil
}

// matcherOf reads the matcher that an option needs.
func matcherOf(h httpcaddyfile.Helper, option string) (caddy.ModuleMap, error) {
	matcher, ok, err := h.MatcherToken()
	switch {
	case err != nil:
		return nil, h.Errf("%s: %s: %w", directive, option, err)
	case !ok:
		return nil, h.Errf("%s: %s: needs a matcher: @name, a path, or *", directive, option)
	default:
		return matcher, nil
	}
}

// parseBypass is short for a rule that only bypasses.
func (c *Handler) parseBypass(h httpcaddyfile.Helper, p *cfparse.Parser) error {
	matcher, err := matcherOf(h, "bypass")
	if err != nil {
		return err
	}
	c.Rules = append(c.Rules, &Rule{MatcherSetsRaw: caddyhttp.RawMatcherSets{matcher}, Bypass: true})
	if more := h.RemainingArgs(); len(more) > 0 {
		return p.Errf("bypass", "takes one matcher, got %q too; one of several paths is a named matcher (@name path /a /b)", more)
	}
	return nil
}

func (c *Handler) parseKey(h httpcaddyfile.Helper, _ *cfparse.Parser) (err error) {
	p := cfparse.For(h.Dispenser, directive+": key")
	if h.NextArg() {
		return h.Errf("%s: key: takes a block, got %q", directive, h.Val())
	}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		if option != "query" {
			if err := p.Once(option); err != nil {
				return err
			}
		}
		switch option {
		case "query":
			err = c.parseQuery(p)
		case "header":
			c.Key.Headers, err = p.Words(option)
		case "cookie":
			c.Key.Cookies, err = p.Words(option)
		case "value":
			c.Key.Values, err = p.Words(option)
		case "ignore_host":
			c.Key.IgnoreHost, err = true, p.Flag(option)
		case "ignore_scheme":
			c.Key.IgnoreScheme, err = true, p.Flag(option)
		default:
			err = p.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Handler) parseQuery(p *cfparse.Parser) error {
	words, err := p.Words("query")
	if err != nil {
		return err
	}
	if c.Key.Query == nil {
		c.Key.Query = &Query{}
	}
	q, names := c.Key.Query, words[1:]
	flag := map[string]*bool{"sort": &q.Sort, "none": &q.None, "forward_ignored": &q.ForwardIgnored}[words[0]]
	list := map[string]*[]string{"allow": &q.Allow, "ignore": &q.Ignore}[words[0]]
	switch {
	case flag != nil && len(names) > 0:
		return p.Errf("query", "%s takes no names, got %q", words[0], names)
	case flag != nil:
		*flag = true
	case list != nil && len(names) == 0:
		return p.Errf("query", "%s names no parameter", words[0])
	case list != nil:
		*list = append(*list, names...)
	default:
		return p.Errf("query", "unknown value %q: want sort, none, forward_ignored, allow or ignore", words[0])
	}
	return nil
}

func (c *Handler) parseCollapse(h httpcaddyfile.Helper, p *cfparse.Parser) error {
	args := h.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == "off":
		c.Collapse.Off = true
		return nil
	case len(args) > 0:
		return p.Errf("collapse", "want off or a block, got %q", args)
	}
	inner := cfparse.For(h.Dispenser, directive+": collapse")
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		if err := inner.Once(option); err != nil {
			return err
		}
		var err error
		switch option {
		case "waiters":
			var n int64
			n, err = inner.Int(option, 1, 1_000_000)
			c.Collapse.MaxWaiters = int(n)
		case "timeout":
			c.Collapse.Timeout, err = duration(inner, option)
		default:
			err = inner.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	if c.Collapse == (Collapse{}) {
		return p.Errf("collapse", "want off or a block")
	}
	return nil
}
