package edgecache

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

const directive = "edge_cache"

func init() {
	httpcaddyfile.RegisterHandlerDirective(directive, parseCaddyfile)
	// Behind everything that decides per client, the most common access rules
	// with respond included: a hit must not go past them.
	httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.After, "respond")
}

// parseCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	edge_cache [<matcher>] {
//		namespace       <name>
//		name            <token>
//		status_header   <field>|off
//		debug_headers
//
//		ttl                    <duration>|off
//		override               <duration> [all]|off
//		max_ttl                <duration>|off
//		negative_ttl           <duration> <status...>
//		heuristic              [<fraction> [<max>]]|off
//		stale_while_revalidate <duration>|off
//		stale_on_error         <duration>|off
//		set_cookie             store
//
//		rule <matcher> {
//			bypass
//			<any of the options from ttl to set_cookie>
//		}
//		bypass        <matcher>
//		bypass_cookie <name...>
//
//		key {
//			query         sort | none | forward_ignored | allow <name...> | ignore <name...>
//			header        <field...>
//			cookie        <name...>
//			value         <placeholder...>
//			ignore_host
//			ignore_scheme
//		}
//		client_control     collapse|honour|ignore
//		normalize_language <language...>
//		max_object_size    <size>
//		max_variants       <n>
//		collapse           off
//		collapse {
//			waiters <n>
//			timeout <duration>
//		}
//		fetch_timeout   <duration>
//		tags            <field...>
//		request_headers strip|key|trust
//		allow_headers   <field...>
//		deception_armor on|off
//		development     <duration>|<RFC 3339 time>
//		purge_allow     <address|cidr...>
//	}
func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	if h.NextArg() {
		return nil, h.Errf("%s: takes a matcher (@name, a path, or *) and a block, got %q", directive, h.Val())
	}
	c := &Handler{}
	p := cfparse.For(h.Dispenser, directive)
	for h.NextBlock(0) {
		option := h.Val()
		if !repeatable[option] {
			if err := p.Once(option); err != nil {
				return nil, err
			}
		}
		if err := c.parseOption(h, p, option); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// repeatable options add to what was given before.
var repeatable = map[string]bool{"rule": true, "bypass": true, "bypass_cookie": true, "negative_ttl": true, "purge_allow": true}

func (c *Handler) parseOption(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (err error) {
	if known, err := c.parseFreshness(h, p, option); known {
		return err
	}
	switch option {
	case "namespace":
		c.Namespace, err = p.Word(option)
	case "name":
		c.Name, err = p.Word(option)
	case "status_header":
		c.StatusHeader, err = p.Word(option)
	case "debug_headers":
		c.DebugHeaders, err = true, p.Flag(option)
	case "rule":
		err = c.parseRule(h)
	case "bypass":
		err = c.parseBypass(h, p)
	case "bypass_cookie":
		var names []string
		names, err = p.Words(option)
		c.BypassCookies = append(c.BypassCookies, names...)
	case "key":
		err = c.parseKey(h, p)
	case "client_control":
		c.ClientControl, err = p.Word(option, "collapse", "honour", "ignore")
	case "normalize_language":
		c.Languages, err = p.Words(option)
	case "max_object_size":
		c.MaxObjectSize, err = p.Size(option)
	case "max_variants":
		var n int64
		n, err = p.Int(option, 1, 100_000)
		c.MaxVariants = int(n)
	case "collapse":
		err = c.parseCollapse(h, p)
	case "fetch_timeout":
		c.FetchTimeout, err = duration(p, option)
	case "tags":
		c.TagHeaders, err = p.Words(option)
	case "request_headers":
		var word string
		word, err = p.Word(option, string(HeadersStrip), string(HeadersKey), string(HeadersTrust))
		c.RequestHeaders = HeaderPolicy(word)
	case "allow_headers":
		c.AllowHeaders, err = p.Words(option)
	case "deception_armor":
		var on bool
		on, err = p.OnOff(option)
		c.DeceptionArmorOff = !on
	case "development":
		err = c.parseDevelopment(p, option)
	case "purge_allow":
		err = c.parsePurgeAllow(p, option)
	default:
		err = p.Unknown(option)
	}
	return err
}

// parseFreshness parses the options that a rule has too.
func (f *Freshness) parseFreshness(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (known bool, err error) {
	switch option {
	case "ttl":
		f.TTL, err = durationOrOff(p, option)
	case "max_ttl":
		f.MaxTTL, err = durationOrOff(p, option)
	case "stale_while_revalidate":
		f.StaleWhileRevalidate, err = durationOrOff(p, option)
	case "stale_on_error":
		f.StaleOnError, err = durationOrOff(p, option)
	case "override":
		err = f.parseOverride(p, option)
	case "negative_ttl":
		err = f.parseNegative(p, option)
	case "heuristic":
		err = f.parseHeuristic(h, p, option)
	case "set_cookie":
		_, err = p.Word(option, "store")
		f.StoreSetCookie = true
	default:
		return false, nil
	}
	return true, err
}

func (f *Freshness) parseOverride(p *cfparse.Parser, option string) error {
	words, err := p.Words(option)
	if err != nil {
		return err
	}
	if len(words) == 2 && words[1] == "all" {
		f.OverrideAll = true
	} else if len(words) != 1 {
		return p.Errf(option, "want a duration and nothing else but \"all\", got %q", words)
	}
	if words[0] == "off" && len(words) == 1 {
		f.Override = Off
		return nil
	}
	d, err := cfparse.ParseDuration(words[0])
	if err != nil {
		return p.Errf(option, "%w, or off", err)
	}
	f.Override = caddy.Duration(d)
	return nil
}

func (f *Freshness) parseNegative(p *cfparse.Parser, option string) error {
	words, err := p.Words(option)
	if err != nil {
		return err
	}
	d, err := parseDuration(p, option, words[0])
	if err != nil {
		return err
	}
	if len(words) < 2 {
		return p.Errf(option, "names no status")
	}
	if f.NegativeTTL == nil {
		f.NegativeTTL = make(map[string]caddy.Duration)
	}
	for _, code := range words[1:] {
		if n, err := parseStatus(code); err != nil {
			return p.Errf(option, "%w", err)
		} else if n < 400 {
			return p.Errf(option, "%q is not an error status (400 to 599)", code)
		}
		if _, ok := f.NegativeTTL[code]; ok {
			return p.Errf(option, "status %s is given twice", code)
		}
		f.NegativeTTL[code] = d
	}
	return nil
}

func (f *Freshness) parseHeuristic(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (err error) {
	f.Heuristic = 0.1
	args := h.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		f.Heuristic = Off
		return nil
	}
	if len(args) > 2 {
		return p.Errf(option, "want a fraction and a maximum, got %q", args)
	}
	if len(args) > 0 {
		if f.Heuristic, err = strconv.ParseFloat(args[0], 64); err != nil || !(f.Heuristic > 0 && f.Heuristic <= 1) {
			return p.Errf(option, "invalid fraction %q: want a number above 0, at most 1", args[0])
		}
	}
	if len(args) > 1 {
		f.HeuristicMax, err = parseDuration(p, option, args[1])
	}
	return err
}

// parseDevelopment takes a time, or a duration from now.
func (c *Handler) parseDevelopment(p *cfparse.Parser, option string) error {
	word, err := p.Word(option)
	if err != nil {
		return err
	}
	until, err := time.Parse(time.RFC3339, word)
	if err != nil {
		d, err := caddy.ParseDuration(word)
		if err != nil || d <= 0 {
			return p.Errf(option, "invalid value %q: want a duration, or a time as in RFC 3339", word)
		}
		until = time.Now().Add(d)
	}
	c.DevelopmentUntil = until.UTC().Format(time.RFC3339)
	return nil
}

func (c *Handler) parsePurgeAllow(p *cfparse.Parser, option string) error {
	words, err := p.Words(option)
	if err != nil {
		return err
	}
	for _, w := range words {
		if _, err := netip.ParseAddr(w); err != nil {
			if _, err := netip.ParsePrefix(w); err != nil {
				return p.Errf(option, "invalid address or CIDR %q", w)
			}
		}
	}
	c.PurgeAllow = append(c.PurgeAllow, words...)
	return nil
}

// durationOrOff parses a duration of freshness; off is told apart from absent,
// since a rule may turn off what the handler turns on.
func durationOrOff(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.DurationOrOff(option)
	return caddy.Duration(d), err
}

func duration(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.Duration(option)
	return caddy.Duration(d), err
}

func parseDuration(p *cfparse.Parser, option, word string) (caddy.Duration, error) {
	d, err := cfparse.ParseDuration(word)
	if err != nil {
		return 0, p.Errf(option, "%w", err)
	}
	return caddy.Duration(d), nil
}
