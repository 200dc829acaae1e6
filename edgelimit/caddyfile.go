package edgelimit

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

const limitDirective = "edge_limit"

func init() {
	httpcaddyfile.RegisterHandlerDirective(limitDirective, parseLimit)
	// In front of everything that costs something, behind what only looks at the
	// request's form.
	httpcaddyfile.RegisterDirectiveOrder(limitDirective, httpcaddyfile.After, "request_body")
}

// parseLimit sets up the handler from Caddyfile tokens. Syntax:
//
//	edge_limit [<matcher>] [<rate>] {
//		<any option of a zone, for a zone named default>
//		zone <name> [<rate>] {
//			match       <matcher>
//			key         <text with placeholders>
//			ipv4_prefix <bits> [<bits of the second level>]
//			ipv6_prefix <bits> [<bits of the second level>]
//			outer_factor <n>
//			rate        <n>/<s|m|h|d|duration>
//			burst       <n>
//			window      <n>/<s|m|h|d|duration>
//			concurrency <n>
//			penalty     <duration>
//			count       status <code|class...>
//			cost        <n|placeholder>
//			exempt      <address|cidr|@matcher...>
//			mode        enforce|shadow|off
//			keys        <n>
//			cluster
//			on_demand
//		}
//		rules   <file>
//		mode    enforce|shadow|off
//		status  <code>
//		body    <text>
//		header  <field> <value>
//		ratelimit_fields refused|always|off
//		respond auto|direct|error
//		notice  <duration>
//	}
//
// Without a zone there is one named default; further directives with one of that
// kind call theirs default-2, default-3 and so on, each with clients of its own.
func parseLimit(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	l := &Limit{}
	def := &Zone{}
	p := cfparse.For(h.Dispenser, limitDirective)
	own := false
	if h.NextArg() {
		var err error
		if def.Rate, err = ParseRate(h.Val()); err != nil {
			return nil, h.Errf("%s: %v", limitDirective, err)
		}
		own = true
		if h.NextArg() {
			return nil, h.Errf("%s: takes a matcher and a rate, got %q too", limitDirective, h.Val())
		}
	}
	for h.NextBlock(0) {
		option := h.Val()
		if option != "zone" && option != "header" && option != "exempt" {
			if err := p.Once(option); err != nil {
				return nil, err
			}
		}
		known, err := l.parseOption(h, p, option)
		if err == nil && !known {
			if known, err = def.parseOption(h, p, option); known {
				own = true
			}
		}
		if err == nil && !known {
			err = p.Unknown(option)
		}
		if err != nil {
			return nil, err
		}
	}
	if own || len(l.Zones) == 0 && l.Rules == "" {
		if !def.limits() {
			def.Rate = DefaultRate
		}
		def.Name = cfparse.NextName(h, limitDirective, DefaultName)
		l.Zones = append([]*Zone{def}, l.Zones...)
	}
	return l, nil
}

// limits reports whether a limit is given.
func (z *Zone) limits() bool {
	return z.Rate != (Rate{}) || z.Window != (Rate{}) || z.Concurrency != 0
}

// parseOption parses an option of the handler.
func (l *Limit) parseOption(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (known bool, err error) {
	switch option {
	case "zone":
		err = l.parseZone(h)
	case "rules":
		l.Rules, err = p.Word(option)
	case "mode":
		l.Mode, err = parseMode(p)
	case "status":
		var n int64
		n, err = p.Int(option, 400, 599)
		l.Status = int(n)
	case "body":
		l.Body, err = p.Word(option)
	case "header":
		var words []string
		if words, err = p.Words(option); err == nil && len(words) != 2 {
			err = p.Errf(option, "needs a field and a value, got %q", words)
		}
		if err == nil {
			if l.Header == nil {
				l.Header = make(http.Header)
			}
			l.Header.Add(words[0], words[1])
		}
	case "ratelimit_fields":
		l.Fields, err = p.Word(option, FieldsRefused, FieldsAlways, FieldsOff)
	case "respond":
		l.Respond, err = p.Word(option, RespondAuto, RespondDirect, RespondError)
	case "notice":
		l.Notice, err = parseDuration(p, option)
	default:
		return false, nil
	}
	return true, err
}

func parseMode(p *cfparse.Parser) (Mode, error) {
	word, err := p.Word("mode", string(ModeEnforce), string(ModeShadow), string(ModeOff))
	return Mode(word), err
}

func parseDuration(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.Duration(option)
	return caddy.Duration(d), err
}

func (l *Limit) parseZone(h httpcaddyfile.Helper) error {
	z := &Zone{}
	args := h.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return h.Errf("%s: zone: needs a name and at most a rate, got %q", limitDirective, args)
	}
	if _, err := ParseRate(args[0]); err == nil {
		return h.Errf("%s: zone: needs a name in front of the rate %s, such as zone login %s", limitDirective, args[0], args[0])
	}
	if !validName(args[0]) {
		return h.Errf("%s: zone %s: name: invalid value %q: want letters, digits, dots, - and _", limitDirective, args[0], args[0])
	}
	z.Name = args[0]
	p := cfparse.For(h.Dispenser, limitDirective+": zone "+z.Name)
	if len(args) == 2 {
		var err error
		if z.Rate, err = ParseRate(args[1]); err != nil {
			return p.Errf("rate", "%w", err)
		}
	}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		if option != "exempt" {
			if err := p.Once(option); err != nil {
				return err
			}
		}
		known, err := z.parseOption(h, p, option)
		if option == "mode" {
			known = true
			z.Mode, err = parseMode(p)
		}
		if err == nil && !known {
			err = p.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	for _, other := range l.Zones {
		if other.Name == z.Name {
			return h.Errf("%s: zone %s: given more than once", limitDirective, z.Name)
		}
	}
	l.Zones = append(l.Zones, z)
	return nil
}

// parseOption parses an option of a zone, but for its mode.
func (z *Zone) parseOption(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (known bool, err error) {
	number := func(to *int, least, most int64) {
		var n int64
		n, err = p.Int(option, least, most)
		*to = int(n)
	}
	switch option {
	case "match":
		err = z.parseMatch(h, p)
	case "key":
		if z.Key, err = p.Word(option); err == nil && z.Key == "" {
			err = p.Errf(option, "is empty")
		}
	case "ipv4_prefix":
		err = parsePrefixes(p, option, &z.IPv4Prefix, &z.IPv4Outer, 32)
	case "ipv6_prefix":
		err = parsePrefixes(p, option, &z.IPv6Prefix, &z.IPv6Outer, 128)
	case "outer_factor":
		number(&z.OuterFactor, 1, 1<<20)
	case "rate":
		z.Rate, err = parseRate(p, option, z.Rate)
	case "window":
		z.Window, err = parseRate(p, option, z.Window)
	case "burst":
		number(&z.Burst, 1, 1<<31-1)
	case "concurrency":
		number(&z.Concurrency, 1, 1<<31-1)
	case "penalty":
		z.Penalty, err = parseDuration(p, option)
	case "count":
		err = z.parseCount(p)
	case "cost":
		z.Cost, err = p.Word(option)
	case "exempt":
		err = z.parseExempt(h, p)
	case "keys":
		number(&z.Keys, minKeys, maxKeys)
	case "on_demand":
		z.OnDemand, err = true, p.Flag(option)
	case "cluster":
		z.Cluster, err = true, p.Flag(option)
	default:
		return false, nil
	}
	return true, err
}

func parseRate(p *cfparse.Parser, option string, before Rate) (Rate, error) {
	word, err := p.Word(option)
	if err != nil {
		return Rate{}, err
	}
	if before != (Rate{}) {
		return Rate{}, p.Errf(option, "given more than once")
	}
	r, err := ParseRate(word)
	if err != nil {
		return Rate{}, p.Errf(option, "%w", err)
	}
	return r, nil
}

func parsePrefixes(p *cfparse.Parser, option string, inner, outer *int, most int) error {
	words, err := p.Words(option)
	if err != nil {
		return err
	}
	if len(words) > 2 {
		return p.Errf(option, "needs one or two numbers of bits, got %q", words)
	}
	for i, word := range words {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > most {
			return p.Errf(option, "invalid number of bits %q: want 1 to %d", word, most)
		}
		*[]*int{inner, outer}[i] = n
	}
	return nil
}

// parseMatch takes a named matcher, a path or *.
func (z *Zone) parseMatch(h httpcaddyfile.Helper, p *cfparse.Parser) error {
	matcher, err := oneMatcher(h, p, "match")
	if err != nil {
		return err
	}
	z.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcher}
	if more := h.RemainingArgs(); len(more) > 0 {
		return p.Errf("match", "takes one matcher, got %q too; one of several paths is a named matcher (@name path /a /b)", more)
	}
	return nil
}

func oneMatcher(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (caddy.ModuleMap, error) {
	matcher, ok, err := h.MatcherToken()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, p.Errf(option, "needs a matcher: @name, a path, or *")
	}
	return matcher, nil
}

// parseExempt takes addresses, CIDRs and matchers.
func (z *Zone) parseExempt(h httpcaddyfile.Helper, p *cfparse.Parser) error {
	n := 0
	for ; h.NextArg(); n++ {
		if value := h.Val(); value != "*" && !strings.HasPrefix(value, "@") && !strings.HasPrefix(value, "/") {
			z.Exempt = append(z.Exempt, value)
			continue
		}
		h.Prev()
		matcher, err := oneMatcher(h, p, "exempt")
		if err != nil {
			return err
		}
		z.ExemptSetsRaw = append(z.ExemptSetsRaw, matcher)
	}
	if n == 0 {
		return p.Errf("exempt", "needs at least one address, CIDR or matcher")
	}
	return nil
}

// parseCount parses "count status 401 4xx".
func (z *Zone) parseCount(p *cfparse.Parser) error {
	words, err := p.Words("count")
	if err != nil {
		return err
	}
	if words[0] != "status" || len(words) < 2 {
		return p.Errf("count", "want status and one code or class (4xx) at least, got %q", words)
	}
	for _, word := range words[1:] {
		status, err := parseStatus(word)
		if err != nil {
			return p.Errf("count", "%w", err)
		}
		z.Count = append(z.Count, status)
	}
	return nil
}

// parseStatus reads a status code, or a class such as 4xx, which is 4.
func parseStatus(s string) (int, error) {
	if len(s) == 3 && s[1:] == "xx" && s[0] >= '1' && s[0] <= '5' {
		return int(s[0] - '0'), nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 100 || n > 599 {
		return 0, fmt.Errorf("invalid status %q: want 100 to 599, or a class such as 4xx", s)
	}
	return n, nil
}
