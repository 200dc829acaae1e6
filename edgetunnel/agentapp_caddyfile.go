package edgetunnel

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

func init() {
	httpcaddyfile.RegisterGlobalOption(agentDirective, parseAgent)
}

// parseAgent parses the global option edge_agent into the app of that name. Syntax:
//
//	edge_agent {
//		edge        <url>...
//		name        <name>
//		token       <token>
//		token_file  <file>
//		ca          <file>...
//		certificate <file> <key_file>
//		data_conns  <n>
//		drain       <duration>
//		backend     <name> <address> {
//			weight               <n>
//			host                 <host>
//			strip_prefix         <path>
//			paths                <path>...
//			strip_credentials
//			insecure_skip_verify
//			dial_timeout         <duration>
//			max_requests         <n>
//			health_uri           <path>
//			health_interval      <duration>
//			health_timeout       <duration>
//			health_fails         <n>
//		}
//	}
func parseAgent(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // consume option name
	if existing != nil {
		return nil, d.Errf("%s: given more than once", agentDirective)
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	a := new(AgentApp)
	p := cfparse.For(d, agentDirective)
	for d.NextBlock(0) {
		option := d.Val()
		if option != "backend" {
			if err := p.Once(option); err != nil {
				return nil, err
			}
		}
		if err := a.parseOption(d, p, option); err != nil {
			return nil, err
		}
	}
	checked := *a
	if err := checked.checkOptions(); err != nil {
		return nil, d.Errf("%s: %v", agentDirective, err)
	}
	return httpcaddyfile.App{Name: agentDirective, Value: caddyconfig.JSON(a, nil)}, nil
}

func (a *AgentApp) parseOption(d *caddyfile.Dispenser, p *cfparse.Parser, option string) (err error) {
	switch option {
	case "edge":
		a.Edges, err = p.Words(option)
	case "name":
		a.Name, err = p.Word(option)
	case "token":
		a.Token, err = p.Word(option)
	case "token_file":
		a.TokenFile, err = p.Word(option)
	case "ca":
		a.CA, err = p.Words(option)
	case "certificate":
		args := d.RemainingArgs()
		if len(args) != 2 {
			return p.Errf(option, "wants two files, the certificate and its key, got %d", len(args))
		}
		a.Certificate, a.Key = args[0], args[1]
	case "data_conns":
		a.DataConns, err = number(p, option)
	case "drain":
		a.Drain, err = duration(p, option)
	case "backend":
		err = a.parseBackend(d, p)
	default:
		err = p.Unknown(option)
	}
	return err
}

func (a *AgentApp) parseBackend(d *caddyfile.Dispenser, outer *cfparse.Parser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return outer.Errf("backend", "wants a name and an address, got %s", strings.Join(args, " "))
	}
	b := AgentBackend{Name: args[0], To: args[1]}
	p := cfparse.For(d, agentDirective+": backend "+b.Name)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		err := p.Once(option)
		if err != nil {
			return err
		}
		switch option {
		case "weight":
			b.Weight, err = number(p, option)
		case "host":
			b.Host, err = p.Word(option)
		case "strip_prefix":
			b.StripPrefix, err = p.Word(option)
		case "paths":
			b.Paths, err = p.Words(option)
		case "strip_credentials":
			b.StripCredentials, err = true, p.Flag(option)
		case "insecure_skip_verify":
			b.InsecureSkipVerify, err = true, p.Flag(option)
		case "dial_timeout":
			b.DialTimeout, err = duration(p, option)
		case "max_requests":
			b.MaxRequests, err = number(p, option)
		case "health_uri":
			b.HealthURI, err = p.Word(option)
		case "health_interval":
			b.HealthInterval, err = duration(p, option)
		case "health_timeout":
			b.HealthTimeout, err = duration(p, option)
		case "health_fails":
			b.HealthFails, err = number(p, option)
		default:
			err = p.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	a.Backends = append(a.Backends, b)
	return nil
}
