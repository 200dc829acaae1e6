package edgetunnel

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective(directive, parseTunnel)
	// In front of what changes paths: agents ask for theirs.
	httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, "rewrite")
}

// parseTunnel sets up the handler from Caddyfile tokens. Syntax:
//
//	edge_tunnel [<matcher>] {
//		name               <name>
//		token              <id> <sha256> <backend>... {
//			certificate <name>...
//		}
//		client_certificate [<name>...]
//		heartbeat          <duration>
//		max_streams        <n>
//		max_agents         <n>
//		memory             <size>
//		drain              <duration>
//	}
func parseTunnel(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	t := &Handler{}
	p := cfparse.For(h.Dispenser, directive)
	for h.NextBlock(0) {
		option := h.Val()
		if option != "token" {
			if err := p.Once(option); err != nil {
				return nil, err
			}
		}
		if err := t.parseOption(h.Dispenser, p, option); err != nil {
			return nil, err
		}
	}
	// What needs no running config is checked here, where the line is known.
	checked := Handler{
		Name: t.Name, Tokens: slices.Clone(t.Tokens), Heartbeat: t.Heartbeat, MaxStreams: t.MaxStreams, MaxAgents: t.MaxAgents,
		Memory: t.Memory, Drain: t.Drain,
	}
	for i, token := range checked.Tokens {
		if strings.Contains(token.Hash, "{") {
			checked.Tokens[i].Hash = wire.Hash{}.String() // not known yet
		}
	}
	if err := checked.check(caddy.NewReplacer()); err != nil {
		return nil, h.Errf("%s: %v", directive, err)
	}
	return t, nil
}

func (t *Handler) parseOption(d *caddyfile.Dispenser, p *cfparse.Parser, option string) (err error) {
	switch option {
	case "name":
		t.Name, err = p.Word(option)
	case "token":
		err = t.parseToken(d, p)
	case "client_certificate":
		t.ClientCertificate = &ClientCertificate{Names: d.RemainingArgs()}
	case "heartbeat":
		t.Heartbeat, err = duration(p, option)
	case "max_streams":
		t.MaxStreams, err = number(p, option)
	case "max_agents":
		t.MaxAgents, err = number(p, option)
	case "memory":
		t.Memory, err = p.Size(option)
	case "drain":
		t.Drain, err = duration(p, option)
	default:
		err = p.Unknown(option)
	}
	return err
}

func (t *Handler) parseToken(d *caddyfile.Dispenser, p *cfparse.Parser) error {
	words, err := p.Words("token")
	if err != nil {
		return err
	}
	const least = 3
	if len(words) < least {
		return p.Errf("token", "wants an id, the SHA-256 of a secret, and the backends that it is for, or * for all; got %d of them", len(words))
	}
	token := Token{ID: words[0], Hash: words[1], Backends: words[2:]}
	inner := cfparse.For(d, directive+": token")
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := inner.Once(option); err != nil {
			return err
		}
		if option != "certificate" {
			return inner.Unknown(option)
		}
		if token.Certificates, err = inner.Words(option); err != nil {
			return err
		}
	}
	t.Tokens = append(t.Tokens, token)
	return nil
}

// UnmarshalCaddyfile sets up the source of upstreams. Syntax:
//
//	dynamic edge_tunnel <backend> {
//		name <name>
//		wait <duration>
//	}
func (u *Upstreams) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume name
	p := cfparse.For(d, "dynamic "+directive)
	args := d.RemainingArgs()
	if len(args) != 1 {
		return p.Errf("backend", "wants the name of one backend, got %d", len(args))
	}
	u.Backend = args[0]
	for d.NextBlock(0) {
		option := d.Val()
		if err := p.Once(option); err != nil {
			return err
		}
		var err error
		switch option {
		case "name":
			u.Name, err = p.Word(option)
		case "wait":
			u.Wait, err = duration(p, option)
		default:
			err = p.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	if err := u.checkOptions(); err != nil {
		return d.Errf("dynamic %s: %v", directive, err)
	}
	return nil
}

// UnmarshalCaddyfile sets up the transport. Syntax:
//
//	transport edge_tunnel {
//		accept_timeout          <duration>
//		response_header_timeout <duration>
//		forward_user            [<header> [<value>]]
//		strip_credentials
//	}
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume name
	p := cfparse.For(d, "transport "+directive)
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		option := d.Val()
		if err := p.Once(option); err != nil {
			return err
		}
		var err error
		switch option {
		case "accept_timeout":
			t.AcceptTimeout, err = duration(p, option)
		case "response_header_timeout":
			t.ResponseHeaderTimeout, err = duration(p, option)
		case "forward_user":
			t.ForwardUser = new(ForwardUser)
			switch args := d.RemainingArgs(); len(args) {
			case 0:
			case 1:
				t.ForwardUser.Header = args[0]
			case 2:
				t.ForwardUser.Header, t.ForwardUser.Value = args[0], args[1]
			default:
				err = p.Errf(option, "wants a header field and a value at most, got %d", len(args))
			}
		case "strip_credentials":
			t.StripCredentials, err = true, p.Flag(option)
		default:
			err = p.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	checked := Transport{AcceptTimeout: t.AcceptTimeout, ResponseHeaderTimeout: t.ResponseHeaderTimeout}
	if t.ForwardUser != nil {
		user := *t.ForwardUser
		checked.ForwardUser = &user // what is filled in stays out of the JSON
	}
	if err := checked.checkOptions(); err != nil {
		return d.Errf("transport %s: %v", directive, err)
	}
	return nil
}

func duration(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.Duration(option)
	return caddy.Duration(d), err
}

func number(p *cfparse.Parser, option string) (int, error) {
	const most = 1 << 20
	n, err := p.Int(option, 1, most)
	return int(n), err
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Upstreams)(nil)
	_ caddyfile.Unmarshaler = (*Transport)(nil)
)
