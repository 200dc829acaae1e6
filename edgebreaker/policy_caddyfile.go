package edgebreaker

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddyedge/caddy-edge/edgebreaker/balance"
	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

// UnmarshalCaddyfile sets up the policy from Caddyfile tokens. Syntax:
//
//	lb_policy edge [wrr|least_conn|p2c] {
//		weights   <n>...
//		upstreams deny loopback|private|link_local|metadata|all...
//		upstreams allow_loopback
//		upstreams pin
//	}
func (p *Policy) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume policy name
	parser := cfparse.For(d, "lb_policy edge")
	if d.NextArg() {
		d.Prev()
		words, err := parser.Words("method")
		if err != nil {
			return err
		}
		if _, ok := balance.ParsePolicy(words[0]); len(words) > 1 || !ok {
			return parser.Errf("method", "invalid value %q: want wrr, least_conn or p2c; weights go in the block", strings.Join(words, " "))
		}
		p.Method = words[0]
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		switch option {
		case "weights":
			if err := parser.Once(option); err != nil {
				return err
			}
			words, err := parser.Words(option)
			if err != nil {
				return err
			}
			for _, word := range words {
				n, err := strconv.Atoi(word)
				if err != nil || n < 1 || n > mostWeight {
					return parser.Errf(option, "invalid weight %q: must be from 1 to %d", word, mostWeight)
				}
				p.Weights = append(p.Weights, n)
			}
		case "upstreams":
			if err := p.parseUpstreams(parser); err != nil {
				return err
			}
		default:
			return parser.Unknown(option)
		}
	}
	return nil
}

func (p *Policy) parseUpstreams(parser *cfparse.Parser) error {
	words, err := parser.Words("upstreams")
	if err != nil {
		return err
	}
	rule := words[0]
	if err := parser.Once("upstreams " + rule); err != nil {
		return err
	}
	if p.Upstreams == nil {
		p.Upstreams = &UpstreamRules{}
	}
	switch {
	case rule == "deny" && len(words) == 1:
		return parser.Errf("upstreams deny", "needs one kind of address at least: loopback, private, link_local, metadata or all")
	case rule == "deny":
		for _, word := range words[1:] {
			if _, ok := classNames[word]; !ok {
				return parser.Errf("upstreams deny", "unknown kind %q: want loopback, private, link_local, metadata or all", word)
			}
		}
		p.Upstreams.Deny = words[1:]
		return nil
	case len(words) > 1:
		return parser.Errf("upstreams "+rule, "takes no argument, got %q", words[1:])
	case rule == "allow_loopback":
		p.Upstreams.AllowLoopback = true
		return nil
	case rule == "pin":
		p.Upstreams.Pin = true
		return nil
	}
	return parser.Errf("upstreams", "unknown rule %q: want deny, allow_loopback or pin", rule)
}

var _ caddyfile.Unmarshaler = (*Policy)(nil)
