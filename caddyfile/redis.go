package caddyfile

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// parseRedis parses the option redis of edge. A later one replaces an earlier
// one as a whole.
func parseRedis(d *caddyfile.Dispenser, outer *cfparse.Parser, app *edgeapp.App) error {
	addresses, err := outer.Words("redis")
	if err != nil {
		return err
	}
	r := &edgeapp.Redis{Addresses: addresses}
	p := cfparse.For(d, "edge: redis")
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := p.Once(option); err != nil {
			return err
		}
		switch option {
		case "username":
			r.Username, err = p.Word(option)
		case "password":
			r.Password, err = p.Word(option)
		case "db":
			var n int64
			n, err = p.Int(option, 0, 1<<20)
			r.DB = int(n)
		case "tls":
			r.TLS, err = true, p.Flag(option)
		case "ca":
			r.CA, err = p.Word(option)
		case "server_name":
			r.ServerName, err = p.Word(option)
		case "prefix":
			r.Prefix, err = p.Word(option)
		case "secret":
			r.Secret, err = p.Word(option)
		case "interval":
			r.Interval, err = duration(p, option)
		case "timeout":
			r.Timeout, err = duration(p, option)
		case "on_error":
			r.OnError, err = p.Word(option, "local", "open", "closed")
		default:
			err = p.Unknown(option)
		}
		if err != nil {
			return err
		}
	}
	app.Redis = r
	return nil
}

func duration(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.Duration(option)
	return caddy.Duration(d), err
}
