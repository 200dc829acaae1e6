package edgewaf

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgewaf/crs"
	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

const wafDirective = "edge_waf"

func init() {
	httpcaddyfile.RegisterHandlerDirective(wafDirective, parseFirewall)
	// In front of whatever answers or rewrites.
	httpcaddyfile.RegisterDirectiveOrder(wafDirective, httpcaddyfile.Before, "redir")
}

// parseFirewall sets up the handler from Caddyfile tokens. Syntax:
//
//	edge_waf [<matcher>] {
//		name   <name>
//		mode   enforce|shadow|off
//		sample <percent>
//
//		crs off
//		crs {
//			paranoia              <level>
//			detection_paranoia    <level>
//			inbound               <score>
//			outbound              <score>
//			early_block
//			allowed_methods       <method...>
//			allowed_content_types [only] <type...>
//			restricted_extensions <extension...>
//			restricted_headers    <field...>
//			max_args              <n>
//			max_arg_name          <size>
//			max_arg_value         <size>
//			max_args_total        <size>
//			preset                <name...> [path <path...>]
//			exclude               [rule <id...>] [tag <tag...>] [param <name...>] [cookie <name...>] [header <name...>] [path <path...>]
//			include_before        <file...>
//			include               <file...>
//		}
//		rules     <file...>
//		basic     on|off
//		downgrade
//
//		block  <matcher> [<status>]
//		log    <matcher>
//		skip   [<matcher>] rule <id...>|tag <tag...>|all
//		shadow [<matcher>] rule <id...>|tag <tag...>|all
//
//		body_limit <size>|off [pass|reject]
//		decode
//		response [<size>] [pass|reject] {
//			types <type...>
//		}
//		budget   <n>|off [pass|reject]
//		status   <code>
//		respond  auto|direct|error
//		keep     <n>
//		log_rate <n>
//		notice   <duration>
//	}
//
// Without a name firewalls call themselves default, default-2, default-3 and so on.
func parseFirewall(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	f := &Firewall{}
	if h.NextArg() {
		return nil, h.Errf("%s: takes a matcher alone, got %q", wafDirective, h.Val())
	}
	p := cfparse.For(h.Dispenser, wafDirective)
	for h.NextBlock(0) {
		option := h.Val()
		switch option {
		case "rules", MatchBlock, MatchLog, MatchSkip, MatchShadow:
		default:
			if err := p.Once(option); err != nil {
				return nil, err
			}
		}
		if err := f.parseOption(h, p, option); err != nil {
			return nil, err
		}
		// Here the line is known.
		if err := f.parsed().provisionEach(); err != nil {
			return nil, h.Errf("%s: %w", wafDirective, err)
		}
	}
	if err := f.parsed().provisionOptions(); err != nil {
		return nil, h.Errf("%s: %w", wafDirective, err)
	}
	if f.Name == "" {
		f.Name = cfparse.NextName(h, wafDirective, DefaultName)
	}
	if o := f.CRS; o != nil {
		f.Files = hashFiles(f.Packs, o.IncludeBefore, o.Include)
	} else {
		f.Files = hashFiles(f.Packs)
	}
	return f, nil
}

// parseOption parses an option of the handler.
func (f *Firewall) parseOption(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (err error) {
	switch option {
	case "name":
		f.Name, err = p.Word(option)
	case "mode":
		var word string
		word, err = p.Word(option, string(ModeEnforce), string(ModeShadow), string(ModeOff))
		f.Mode = Mode(word)
	case "sample":
		f.Sample, err = parsePercent(p, option)
	case "crs":
		f.CRS, err = parseCRS(h)
	case "rules":
		var words []string
		words, err = p.Words(option)
		f.Packs = append(f.Packs, words...)
	case "basic":
		f.Basic, err = p.Word(option, BasicOn, BasicOff)
	case "downgrade":
		f.Downgrade, err = true, p.Flag(option)
	case MatchBlock, MatchLog, MatchSkip, MatchShadow:
		err = f.parseMatcherRule(h, p, option)
	case "body_limit":
		f.Body.Limit, f.Body.OnLimit, err = parseLimitWord(p, option, cfparse.ParseSize)
	case "decode":
		f.Body.Decode, err = true, p.Flag(option)
	case "response":
		f.Response, err = parseResponse(h)
	case "budget":
		f.Budget, f.OnBudget, err = parseLimitWord(p, option, func(word string) (int64, error) { return strconv.ParseInt(word, 10, 64) })
	case "status":
		f.Status, err = parseInt(p, option, 400, 599)
	case "respond":
		f.Respond, err = p.Word(option, RespondAuto, RespondDirect, RespondError)
	case "keep":
		f.Keep, err = parseInt(p, option, 1, 100000)
	case "log_rate":
		f.LogRate, err = parseInt(p, option, 1, 1000000)
	case "notice":
		f.Notice, err = parseDuration(p, option)
	default:
		err = p.Unknown(option)
	}
	return err
}

func parseInt(p *cfparse.Parser, option string, least, most int64) (int, error) {
	n, err := p.Int(option, least, most)
	return int(n), err
}

// parsePercent parses "5" and "0.1%".
func parsePercent(p *cfparse.Parser, option string) (float64, error) {
	word, err := p.Word(option)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(word, "%"), 64)
	if err != nil || !(n > 0 && n <= 100) {
		return 0, p.Errf(option, "invalid value %q: want a percentage, more than 0 and at most 100", word)
	}
	return n, nil
}

// parseLimitWord parses "<limit>|off [pass|reject]".
func parseLimitWord(p *cfparse.Parser, option string, parse func(string) (int64, error)) (limit int64, on string, err error) {
	words, err := p.Words(option)
	if err != nil {
		return 0, "", err
	}
	if words[0] == "off" {
		if len(words) > 1 {
			return 0, "", p.Errf(option, "off: takes no other word, got %q", words[1])
		}
		return -1, "", nil
	}
	if limit, err = parse(words[0]); err != nil || limit < 1 {
		return 0, "", p.Errf(option, "invalid value %q", words[0])
	}
	if len(words) > 2 || len(words) == 2 && words[1] != OnPass && words[1] != OnReject {
		return 0, "", p.Errf(option, "invalid value %q: want a limit, and pass or reject", strings.Join(words, " "))
	}
	if len(words) == 2 {
		on = words[1]
	}
	return limit, on, nil
}

// parseResponse parses the option response.
func parseResponse(h httpcaddyfile.Helper) (*ResponseOptions, error) {
	o := new(ResponseOptions)
	p := cfparse.For(h.Dispenser, wafDirective)
	if words := h.RemainingArgs(); len(words) > 0 {
		if last := words[len(words)-1]; last == OnPass || last == OnReject {
			o.OnLimit, words = last, words[:len(words)-1]
		}
		if len(words) > 1 {
			return nil, p.Errf("response", "invalid value %q: want a size, and pass or reject", words)
		}
		if len(words) == 1 {
			var err error
			if o.Limit, err = cfparse.ParseSize(words[0]); err != nil || o.Limit < 1 {
				return nil, p.Errf("response", "invalid size %q", words[0])
			}
		}
	}
	inner := cfparse.For(h.Dispenser, wafDirective+": response")
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		if err := inner.Once(option); err != nil {
			return nil, err
		}
		var err error
		switch option {
		case "types":
			o.Types, err = inner.Words(option)
		default:
			err = inner.Unknown(option)
		}
		if err != nil {
			return nil, err
		}
	}
	return o, nil
}

// parseMatcherRule parses block, log, skip and shadow.
func (f *Firewall) parseMatcherRule(h httpcaddyfile.Helper, p *cfparse.Parser, option string) error {
	m := &MatcherRule{Action: option}
	given, err := m.parseMatcher(h)
	if err != nil {
		return err
	}
	words := h.RemainingArgs()
	if option == MatchBlock || option == MatchLog {
		if !given {
			return p.Errf(option, "needs a matcher: @name, a path, or *")
		}
		if option == MatchBlock && len(words) == 1 {
			n, err := strconv.Atoi(words[0])
			if err != nil || n < 400 || n > 599 {
				return p.Errf(option, "invalid status %q: want 400 to 599", words[0])
			}
			m.Status, words = n, nil
		}
		if len(words) > 0 {
			return p.Errf(option, "invalid value %q", strings.Join(words, " "))
		}
		if m.ID != "" {
			if err := checkName(m.ID); err != nil {
				return p.Errf(option, "id: %w", err)
			}
			if slices.ContainsFunc(f.Rules, func(o *MatcherRule) bool { return o.ID == m.ID }) {
				return p.Errf(option, "id: there is another rule %q", m.ID)
			}
		}
		f.Rules = append(f.Rules, m)
		return nil
	}
	m.ID = ""
	to := (*[]string)(nil)
	for _, word := range words {
		switch {
		case word == "rule":
			to = &m.IDs
		case word == "tag":
			to = &m.Tags
		case word == "all" && to == nil:
			m.All = true
		case to == nil:
			return p.Errf(option, "invalid value %q: want rule, tag or all", word)
		default:
			*to = append(*to, word)
		}
	}
	if len(m.IDs)+len(m.Tags) == 0 && !m.All {
		return p.Errf(option, "needs rule <id...>, tag <tag...>, or all")
	}
	f.Rules = append(f.Rules, m)
	return nil
}

// parseMatcher parses the matcher of a rule, if there is one. A named one names the rule.
func (m *MatcherRule) parseMatcher(h httpcaddyfile.Helper) (given bool, err error) {
	if !h.NextArg() {
		return false, nil
	}
	word := h.Val()
	h.Prev()
	if word != "*" && !strings.HasPrefix(word, "@") && !strings.HasPrefix(word, "/") {
		return false, nil
	}
	matcher, given, err := h.MatcherToken()
	if err != nil || !given {
		return false, err
	}
	if len(matcher) > 0 {
		m.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcher}
	}
	m.ID = strings.TrimPrefix(word, "@")
	if m.ID == word {
		m.ID = ""
	}
	return true, nil
}

// parseCRS parses the option crs.
func parseCRS(h httpcaddyfile.Helper) (*crs.Options, error) {
	o := new(crs.Options)
	if h.NextArg() {
		if h.Val() != "off" || h.NextArg() {
			return nil, h.Errf("%s: crs: invalid value %q: want off, or a block", wafDirective, h.Val())
		}
		o.Off = true
	}
	p := cfparse.For(h.Dispenser, wafDirective+": crs")
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		switch option {
		case "exclude", "include", "include_before", "preset":
		default:
			if err := p.Once(option); err != nil {
				return nil, err
			}
		}
		if err := parseCRSOption(p, o, option); err != nil {
			return nil, err
		}
		soFar := *o // to validate it fills in defaults
		if err := soFar.Validate(); err != nil {
			return nil, h.Errf("%s: crs: %w", wafDirective, err)
		}
	}
	return o, nil
}

func parseCRSOption(p *cfparse.Parser, o *crs.Options, option string) (err error) {
	more := func(list *[]string) {
		var words []string
		words, err = p.Words(option)
		*list = append(*list, words...)
	}
	size := func(to *int) {
		var n int64
		n, err = p.Size(option)
		*to = int(n)
	}
	switch option {
	case "paranoia":
		o.Paranoia, err = parseInt(p, option, 1, 4)
	case "detection_paranoia":
		o.DetectionParanoia, err = parseInt(p, option, 1, 4)
	case "inbound":
		o.Inbound, err = parseInt(p, option, 1, 10000)
	case "outbound":
		o.Outbound, err = parseInt(p, option, 1, 10000)
	case "early_block":
		o.EarlyBlock, err = true, p.Flag(option)
	case "allowed_methods":
		o.AllowedMethods, err = p.Words(option)
	case "allowed_content_types":
		o.AllowedContentTypes, err = p.Words(option)
	case "restricted_extensions":
		o.RestrictedExtensions, err = p.Words(option)
	case "restricted_headers":
		o.RestrictedHeaders, err = p.Words(option)
	case "max_args":
		o.MaxArgs, err = parseInt(p, option, 1, 100000)
	case "max_arg_name":
		size(&o.MaxArgName)
	case "max_arg_value":
		size(&o.MaxArgValue)
	case "max_args_total":
		size(&o.MaxArgsTotal)
	case "preset":
		var list []crs.Preset
		list, err = parsePresets(p)
		o.Presets = append(o.Presets, list...)
	case "exclude":
		var e crs.Exclusion
		if e, err = parseExclude(p); err == nil {
			o.Exclude = append(o.Exclude, e)
		}
	case "include":
		more(&o.Include)
	case "include_before":
		more(&o.IncludeBefore)
	default:
		err = p.Unknown(option)
	}
	return err
}

// parsePresets parses "preset graphql path /api/gql".
func parsePresets(p *cfparse.Parser) (list []crs.Preset, err error) {
	names, err := p.Words("preset")
	if err != nil {
		return nil, err
	}
	var paths []string
	if i := slices.Index(names, "path"); i >= 0 {
		if names, paths = names[:i], names[i+1:]; len(names) == 0 || len(paths) == 0 {
			return nil, p.Errf("preset", "needs a name, and behind path at least one path")
		}
	}
	for _, name := range names {
		list = append(list, crs.Preset{Name: name, Paths: paths})
	}
	return list, nil
}

// parseExclude parses "exclude rule 942100 param q path /search".
func parseExclude(p *cfparse.Parser) (e crs.Exclusion, err error) {
	words, err := p.Words("exclude")
	if err != nil {
		return e, err
	}
	lists := map[string]*[]string{"rule": &e.Rules, "tag": &e.Tags, "param": &e.Params, "cookie": &e.Cookies, "header": &e.Headers, "path": &e.Paths}
	var (
		to   *[]string
		kind string
	)
	for _, word := range words {
		list, ok := lists[word]
		switch {
		case ok && (to == nil || len(*to) > 0):
			to, kind = list, word
			delete(lists, word) // the same word again is a value
		case to == nil:
			return e, p.Errf("exclude", "invalid value %q: want rule, tag, param, cookie, header or path first", word)
		default:
			*to = append(*to, word)
		}
	}
	if len(*to) == 0 {
		return e, p.Errf("exclude", "%s: needs at least one value", kind)
	}
	if err := e.Validate(); err != nil {
		return e, p.Errf("exclude", "%w", err)
	}
	return e, nil
}

var _ caddy.Module = Firewall{}
