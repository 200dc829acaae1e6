package edgebreaker

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective(directive, parseBreaker)
	// Next to the proxy, behind all that answers in its place.
	httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, "reverse_proxy")
}

// parseBreaker sets up the handler from Caddyfile tokens. Syntax:
//
//	edge_breaker [<matcher>] {
//		name           <name>
//		failures       <n>|off
//		failure_ratio  <ratio> [<min_requests>]
//		slow_ratio     <ratio> <latency> [<min_requests>]
//		window         <duration>
//		failure_status <code|class>...
//		grpc_status    <code|NAME>...
//		successes      <n>
//		probes         <n>
//		open           <duration> [<max>]
//		max_ejection   <percent>
//		slow_start     <duration>|off|<percent>... each <duration>
//		retry_budget   <percent> [<min_per_second>]
//		retry_methods  <METHOD>...|any
//		header_timeout <duration>|off
//		timeout        <duration>|off
//		concurrency    <n> [<queue> [<duration>]]
//		status         <code>
//		fallback       [<body> [<status>]] {
//			<directives>
//		}
//	}
func parseBreaker(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	b := &Handler{}
	p := cfparse.For(h.Dispenser, directive)
	for h.NextBlock(0) {
		option := h.Val()
		if err := p.Once(option); err != nil {
			return nil, err
		}
		known, err := b.parseRule(p, option)
		if err == nil && !known {
			known, err = b.parseOption(h, p, option)
		}
		if err == nil && !known {
			err = p.Unknown(option)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.takeName(h, p); err != nil {
		return nil, err
	}
	return b, nil
}

// parseRule parses the options that say when a backend opens and closes.
func (b *Handler) parseRule(p *cfparse.Parser, option string) (known bool, err error) {
	switch option {
	case "failures":
		b.Failures, err = parseCountOrOff(p, option)
	case "failure_ratio":
		err = parseArgs(p, option, 1, 2, func(words []string) (err error) {
			if b.FailureRatio, err = parseShare(words[0]); err == nil && len(words) > 1 {
				b.FailureMinRequests, err = parseCount(words[1])
			}
			return err
		})
	case "slow_ratio":
		err = parseArgs(p, option, 2, 3, func(words []string) (err error) {
			if b.SlowRatio, err = parseShare(words[0]); err != nil {
				return err
			}
			if b.SlowLatency, err = parseDuration(words[1]); err == nil && len(words) > 2 {
				b.SlowMinRequests, err = parseCount(words[2])
			}
			return err
		})
	case "window":
		b.Window, err = durationOption(p, option)
	case "failure_status":
		err = b.parseFailureStatus(p)
	case "grpc_status":
		b.GRPCStatus, err = p.Words(option)
	case "successes":
		b.Successes, err = countOption(p, option)
	case "probes":
		b.Probes, err = countOption(p, option)
	case "open":
		err = parseArgs(p, option, 1, 2, func(words []string) (err error) {
			if b.Open, err = parseDuration(words[0]); err == nil && len(words) > 1 {
				b.MaxOpen, err = parseDuration(words[1])
			}
			return err
		})
	case "max_ejection":
		err = parseArgs(p, option, 1, 1, func(words []string) (err error) {
			b.MaxEjection, err = parseShare(words[0])
			return err
		})
	case "slow_start":
		err = b.parseSlowStart(p)
	default:
		return false, nil
	}
	return true, err
}

// parseOption parses the other options.
func (b *Handler) parseOption(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (known bool, err error) {
	switch option {
	case "name":
		b.Name, err = p.Word(option)
	case "retry_budget":
		err = parseArgs(p, option, 1, 2, func(words []string) error {
			ratio, err := parsePercent(words[0])
			if err != nil || ratio > 1 {
				return errInvalid("share", words[0], "must be from 0 to 1, or 100%")
			}
			b.RetryBudget = &ratio
			if len(words) > 1 {
				n, err := strconv.Atoi(words[1])
				if err != nil || n < 0 {
					return errInvalid("number", words[1], "must be 0 or above")
				}
				b.RetryMinPerSecond = &n
			}
			return nil
		})
	case "retry_methods":
		b.RetryMethods, err = p.Words(option)
	case "header_timeout":
		if b.HeaderTimeout, err = durationOrOff(p, option); b.HeaderTimeout == 0 {
			b.HeaderTimeout = off
		}
	case "timeout":
		b.Timeout, err = durationOrOff(p, option)
	case "concurrency":
		err = parseArgs(p, option, 1, 3, func(words []string) (err error) {
			if b.Concurrency, err = parseCount(words[0]); err == nil && len(words) > 1 {
				b.Queue, err = parseCount(words[1])
			}
			if err == nil && len(words) > 2 {
				b.QueueDeadline, err = parseDuration(words[2])
			}
			return err
		})
	case "status":
		var n int64
		n, err = p.Int(option, http.StatusTooManyRequests, 599)
		b.Status = int(n)
	case "fallback":
		err = b.parseFallback(h, p)
	default:
		return false, nil
	}
	return true, err
}

// parseFailureStatus takes codes and classes such as 5xx.
func (b *Handler) parseFailureStatus(p *cfparse.Parser) error {
	words, err := p.Words("failure_status")
	if err != nil {
		return err
	}
	for _, s := range words {
		if len(s) == 3 && s[1:] == "xx" && s[0] >= '1' && s[0] <= '5' {
			b.FailureStatus = append(b.FailureStatus, int(s[0]-'0'))
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 100 || n > 599 {
			return p.Errf("failure_status", "invalid status %q: want 100 to 599, or a class such as 5xx", s)
		}
		b.FailureStatus = append(b.FailureStatus, n)
	}
	return nil
}

// parseSlowStart takes a duration, off, or steps.
func (b *Handler) parseSlowStart(p *cfparse.Parser) error {
	words, err := p.Words("slow_start")
	if err != nil {
		return err
	}
	b.SlowStart = &SlowStart{}
	if len(words) == 1 && words[0] == "off" {
		b.SlowStart.Off = true
		return nil
	}
	if len(words) == 1 {
		if b.SlowStart.Duration, err = parseDuration(words[0]); err != nil {
			return p.Errf("slow_start", "%w", err)
		}
		return nil
	}
	n := len(words)
	if n < 3 || words[n-2] != "each" {
		return p.Errf("slow_start", "want a duration, off, or percentages and each <duration>, got %q", words)
	}
	for _, word := range words[:n-2] {
		share, err := parseShare(word)
		if err != nil {
			return p.Errf("slow_start", "%w", err)
		}
		b.SlowStart.Steps = append(b.SlowStart.Steps, share)
	}
	if b.SlowStart.Each, err = parseDuration(words[n-1]); err != nil {
		return p.Errf("slow_start", "%w", err)
	}
	return nil
}

// parseFallback takes a body and a status, or a block of directives.
func (b *Handler) parseFallback(h httpcaddyfile.Helper, p *cfparse.Parser) error {
	segment := h.NewFromNextSegment()
	segment.Next() // the option's name
	args := segment.RemainingArgs()
	block := segment.NextBlock(0)
	b.Fallback = &Fallback{}
	switch {
	case !block && h.Val() == "}" && !h.Token().Quoted(): // braces that a segment leaves out
		return p.Errf("fallback", "has an empty block")
	case block && len(args) > 0:
		return p.Errf("fallback", "has a block and %q: want one of them", args)
	case len(args) > 2:
		return p.Errf("fallback", "needs a body and at most a status, got %q", args)
	case block:
		segment.Reset()
		sub, err := httpcaddyfile.ParseSegmentAsSubroute(h.WithDispenser(segment))
		if err != nil {
			return err
		}
		if route, ok := sub.(*caddyhttp.Subroute); ok {
			b.Fallback.Routes = route.Routes
		}
		if len(b.Fallback.Routes) == 0 {
			return p.Errf("fallback", "has an empty block")
		}
		return nil
	}
	if len(args) > 0 {
		b.Fallback.Body = args[0]
	}
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 200 || n > 599 {
			return p.Errf("fallback", "invalid status %q: must be from 200 to 599", args[1])
		}
		b.Fallback.Status = n
	}
	return nil
}

// parseArgs hands an option's arguments to f, least to most of them.
func parseArgs(p *cfparse.Parser, option string, least, most int, f func([]string) error) error {
	words, err := p.Words(option)
	if err != nil {
		return err
	}
	if len(words) < least || len(words) > most {
		return p.Errf(option, "needs %d to %d values, got %q", least, most, words)
	}
	if err := f(words); err != nil {
		return p.Errf(option, "%w", err)
	}
	return nil
}

// parseShare reads a share above 0 up to 1, such as 0.5 or 50%.
func parseShare(s string) (float64, error) {
	f, err := parsePercent(s)
	if err != nil || f == 0 || f > 1 {
		return 0, errInvalid("share", s, "must be above 0 and at most 1, or 100%")
	}
	return f, nil
}

// parsePercent reads a number from 0, as a fraction or with a percent sign.
func parsePercent(s string) (float64, error) {
	digits, percent := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(f >= 0 && f <= 1e6) {
		return 0, errInvalid("share", s, "want one such as 0.2 or 20%")
	}
	if percent {
		f /= 100
	}
	return f, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > mostConcurrency {
		return 0, errInvalid("number", s, "must be from 1 to "+strconv.Itoa(mostConcurrency))
	}
	return n, nil
}

func parseDuration(s string) (caddy.Duration, error) {
	d, err := caddy.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, errInvalid("duration", s, "want one above zero, such as 30s")
	}
	return caddy.Duration(d), nil
}

func countOption(p *cfparse.Parser, option string) (int, error) {
	n, err := p.Int(option, 1, mostConcurrency)
	return int(n), err
}

func parseCountOrOff(p *cfparse.Parser, option string) (int, error) {
	word, err := p.Word(option)
	if err != nil || word == "off" {
		return off, err
	}
	n, err := parseCount(word)
	if err != nil {
		return 0, p.Errf(option, "%w", err)
	}
	return n, nil
}

func durationOption(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.Duration(option)
	return caddy.Duration(d), err
}

func durationOrOff(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.DurationOrOff(option)
	return caddy.Duration(d), err
}
