package edgewaf

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgewaf/access"
	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

const guardDirective = "edge_guard"

func init() {
	httpcaddyfile.RegisterHandlerDirective(guardDirective, parseGuard)
	// In front of whatever decides by the path, so that it sees the normal form.
	httpcaddyfile.RegisterDirectiveOrder(guardDirective, httpcaddyfile.Before, "request_body")
}

// parseGuard sets up the handler from Caddyfile tokens. Syntax:
//
//	edge_guard [<matcher>] {
//		name  <name>
//		mode  enforce|shadow|off
//		check <id...> enforce|shadow|off
//
//		allow     [file|asn|country] <value...>
//		deny      [file|asn|country] <value...>
//		otherwise allow|deny
//		asn_database     <file>
//		country_database <file>
//		refresh          <duration>
//
//		methods        <method...>
//		max_fields     <n>
//		max_field_size <size>
//		max_uri        <size>
//		max_body       <size>
//		hosts          <name...>
//		dot_segments
//		merge_slashes
//		end_to_end <field...>
//		chunked    close|trusted
//
//		request_id        accept|replace|off [v4|v7]
//		request_id_header <field>
//		mask_client       [<bits of IPv4> <bits of IPv6>]
//		security_headers  [override] {
//			frame_options      DENY|SAMEORIGIN|off
//			referrer_policy    <value>|off
//			permissions_policy <value>|off
//			server             <value>|off
//		}
//		respond auto|direct|error
//		notice  <duration>
//	}
//
// Without a name guards call themselves default, default-2, default-3 and so on.
func parseGuard(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	g := &Guard{}
	if h.NextArg() {
		return nil, h.Errf("%s: takes a matcher alone, got %q", guardDirective, h.Val())
	}
	p := cfparse.For(h.Dispenser, guardDirective)
	for h.NextBlock(0) {
		option := h.Val()
		if option != "check" && option != "allow" && option != "deny" {
			if err := p.Once(option); err != nil {
				return nil, err
			}
		}
		known, err := g.parseOption(h, p, option)
		if err == nil && !known {
			err = p.Unknown(option)
		}
		if err != nil {
			return nil, err
		}
	}
	if g.Name == "" {
		g.Name = cfparse.NextName(h, guardDirective, DefaultName)
	}
	return g, nil
}

// parseOption parses an option of the handler.
func (g *Guard) parseOption(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (known bool, err error) {
	switch option {
	case "name":
		g.Name, err = p.Word(option)
	case "mode":
		var word string
		word, err = p.Word(option, string(ModeEnforce), string(ModeShadow), string(ModeOff))
		g.Mode = Mode(word)
	case "check":
		err = g.parseCheck(p)
	case "methods":
		g.Methods, err = p.Words(option)
	case "max_fields":
		var n int64
		n, err = p.Int(option, 1, 1<<20)
		g.MaxFields = int(n)
	case "max_field_size":
		g.MaxFieldSize, err = p.Size(option)
	case "max_uri":
		g.MaxURI, err = p.Size(option)
	case "max_body":
		g.MaxBody, err = p.Size(option)
	case "hosts":
		g.Hosts, err = p.Words(option)
	case "dot_segments":
		g.DotSegments, err = true, p.Flag(option)
	case "merge_slashes":
		g.MergeSlashes, err = true, p.Flag(option)
	case "end_to_end":
		g.EndToEnd, err = p.Words(option)
	case "chunked":
		g.Chunked, err = p.Word(option, ChunkedClose, ChunkedTrusted)
	case "request_id":
		err = g.parseRequestID(p)
	case "request_id_header":
		g.RequestIDHeader, err = p.Word(option)
	case "mask_client":
		err = g.parseMask(h, p)
	case "security_headers":
		err = g.parseSecurityHeaders(h)
	case "respond":
		g.Respond, err = p.Word(option, RespondAuto, RespondDirect, RespondError)
	case "notice":
		g.Notice, err = parseDuration(p, option)
	default:
		return g.Access.parseOption(p, option)
	}
	return true, err
}

func parseDuration(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.Duration(option)
	return caddy.Duration(d), err
}

// parseCheck parses "check path_parameter query_encoding enforce".
func (g *Guard) parseCheck(p *cfparse.Parser) error {
	words, err := p.Words("check")
	if err != nil {
		return err
	}
	ids, mode := words[:len(words)-1], Mode(words[len(words)-1])
	if _, err := mode.parse(levelOff); err != nil || len(ids) == 0 {
		return p.Errf("check", "want ids and one of enforce, shadow, off, got %q", words)
	}
	if g.Checks == nil {
		g.Checks = make(map[string]Mode)
	}
	for _, id := range ids {
		if _, err := checkOf(id); err != nil {
			return p.Errf("check", "%w", err)
		}
		if _, ok := g.Checks[id]; ok {
			return p.Errf("check", "%s: given more than once", id)
		}
		g.Checks[id] = mode
	}
	return nil
}

// parseRequestID parses "request_id replace v7".
func (g *Guard) parseRequestID(p *cfparse.Parser) error {
	words, err := p.Words("request_id")
	if err != nil {
		return err
	}
	switch words[0] {
	case RequestIDAccept, RequestIDReplace, RequestIDOff:
		g.RequestID = words[0]
	default:
		return p.Errf("request_id", "invalid value %q: must be one of accept, replace, off", words[0])
	}
	if words = words[1:]; len(words) == 0 {
		return nil
	}
	if g.RequestID == RequestIDOff || len(words) > 1 || words[0] != "v4" && words[0] != "v7" {
		return p.Errf("request_id", "invalid value %q: want v4 or v7 at most", strings.Join(words, " "))
	}
	g.RequestIDVersion = int(words[0][1] - '0')
	return nil
}

// parseMask parses "mask_client" and "mask_client 16 32".
func (g *Guard) parseMask(h httpcaddyfile.Helper, p *cfparse.Parser) error {
	g.MaskClient = true
	words := h.RemainingArgs()
	if len(words) != 0 && len(words) != 2 {
		return p.Errf("mask_client", "wants bits of IPv4 and of IPv6, got %q", words)
	}
	for i, word := range words {
		n, err := strconv.Atoi(word)
		if most := []int{32, 128}[i]; err != nil || n < 1 || n > most {
			return p.Errf("mask_client", "invalid number of bits %q: want 1 to %d", word, most)
		}
		*[]*int{&g.MaskIPv4, &g.MaskIPv6}[i] = n
	}
	return nil
}

func (g *Guard) parseSecurityHeaders(h httpcaddyfile.Helper) error {
	s := new(SecurityHeaders)
	g.SecurityHeaders = s
	p := cfparse.For(h.Dispenser, guardDirective+": security_headers")
	if h.NextArg() {
		if s.Override = h.Val() == "override"; !s.Override || h.NextArg() {
			return h.Errf("%s: security_headers: takes override alone, got %q", guardDirective, h.Val())
		}
	}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		option := h.Val()
		if err := p.Once(option); err != nil {
			return err
		}
		var err error
		switch option {
		case "frame_options":
			s.FrameOptions, err = p.Word(option, "DENY", "SAMEORIGIN", headerOff)
		case "referrer_policy":
			s.ReferrerPolicy, err = nonEmpty(p, option)
		case "permissions_policy":
			s.PermissionsPolicy, err = nonEmpty(p, option)
		case "server":
			s.Server, err = nonEmpty(p, option)
		default:
			err = p.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func nonEmpty(p *cfparse.Parser, option string) (string, error) {
	word, err := p.Word(option)
	if err == nil && word == "" {
		err = p.Errf(option, "is empty")
	}
	return word, err
}

// parseOption parses an option of the access lists.
func (a *Access) parseOption(p *cfparse.Parser, option string) (known bool, err error) {
	switch option {
	case "allow":
		err = parseClients(p, option, &a.Allow)
	case "deny":
		err = parseClients(p, option, &a.Deny)
	case "otherwise":
		a.Otherwise, err = p.Word(option, OtherwiseAllow, OtherwiseDeny)
	case "asn_database":
		a.ASNDatabase, err = nonEmpty(p, option)
	case "country_database":
		a.CountryDatabase, err = nonEmpty(p, option)
	case "refresh":
		a.Refresh, err = parseDuration(p, option)
	default:
		return false, nil
	}
	return true, err
}

// parseClients parses the values of allow and deny. Further lines add to them.
func parseClients(p *cfparse.Parser, option string, to **Clients) error {
	words, err := p.Words(option)
	if err != nil {
		return err
	}
	if *to == nil {
		*to = new(Clients)
	}
	c, kind := *to, words[0]
	switch kind {
	case "file", "asn", "country":
		if words = words[1:]; len(words) == 0 {
			return p.Errf(option, "%s: needs at least one value", kind)
		}
	default:
		kind = ""
	}
	for _, word := range words {
		switch kind {
		case "file":
			if word == "" {
				return p.Errf(option, "file: is empty")
			}
			c.Files = append(c.Files, word)
		case "asn":
			n, err := access.ParseASN(word)
			if err != nil {
				return p.Errf(option, "asn: %w", err)
			}
			c.ASNs = append(c.ASNs, n)
		case "country":
			code, err := access.ParseCountry(word)
			if err != nil {
				return p.Errf(option, "country: %w", err)
			}
			c.Countries = append(c.Countries, code)
		default:
			if _, err := access.ParsePrefix(word); err != nil {
				return p.Errf(option, "%w", err)
			}
			c.Addresses = append(c.Addresses, word)
		}
	}
	return nil
}
