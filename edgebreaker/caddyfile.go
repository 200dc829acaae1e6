package edgebreaker

import (
	"fmt"
	"strconv"
	"strings"
	"time"

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
//		fallback       <body> [<status>]
//		fallback       <status>
//		fallback {
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
			if b.SlowLatency, err = parseDuration(words[1], longestTimeout); err == nil && len(words) > 2 {
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
			if b.Open, err = parseDuration(words[0], longestTimeout); err == nil && len(words) > 1 {
				b.MaxOpen, err = parseDuration(words[1], longestTimeout)
			}
			return err
		})
	case "max_ejection":
		err = parseArgs(p, option, 1, 1, func(words []string) (err error) {
			if words[0] == "off" {
				return errInvalid("share", "off", "leave it out for 50%, or set 100% for no bound")
			}
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
		if b.Name, err = p.Word(option); err == nil && b.Name == "" {
			err = p.Errf(option, "is empty")
		}
	case "retry_budget":
		err = parseArgs(p, option, 1, 2, func(words []string) error {
			ratio, err := parsePercent(words[0])
			if err != nil {
				return err
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
		b.HeaderTimeout, err = timeoutOrOff(p, option)
	case "timeout":
		b.Timeout, err = timeoutOrOff(p, option)
	case "concurrency":
		err = parseArgs(p, option, 1, 3, b.parseConcurrency)
	case "status":
		var word string
		if word, err = p.Word(option); err != nil {
			break
		}
		if b.Status, err = strconv.Atoi(word); err != nil || !validStatus(b.Status) {
			err = p.Errf(option, "%w", errInvalid("value", word, wantStatus))
		}
	case "fallback":
		err = b.parseFallback(h, p)
	default:
		return false, nil
	}
	return true, err
}

// parseConcurrency takes a number, a queue and its deadline.
func (b *Handler) parseConcurrency(words []string) (err error) {
	if words[0] == "off" {
		return errInvalid("number", "off", "leave it out")
	}
	if b.Concurrency, err = parseCount(words[0]); err != nil || len(words) == 1 {
		return err
	}
	if b.Queue, err = strconv.Atoi(words[1]); err != nil || b.Queue < 0 || b.Queue > mostConcurrency {
		return errInvalid("queue", words[1], "must be from 0 to "+strconv.Itoa(mostConcurrency))
	}
	if len(words) == 2 {
		return nil
	}
	if b.QueueDeadline, err = parseDuration(words[2], longestQueue); err != nil {
		return fmt.Errorf("queue deadline: %w", err)
	}
	if b.Queue == 0 {
		return fmt.Errorf("queue deadline %s: without a queue, whose number is 0", words[2])
	}
	return nil
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
		if b.SlowStart.Duration, err = parseDuration(words[0], longestTimeout); err != nil {
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
	if b.SlowStart.Each, err = parseDuration(words[n-1], longestTimeout); err != nil {
		return p.Errf("slow_start", "each: %w", err)
	}
	return nil
}

// parseFallback takes a body and a status, one of them, or a block of directives. Of
// one argument three digits are a status, as in respond.
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
	case len(args) == 0:
		return p.Errf("fallback", "needs a body, a status or a block")
	}
	var status string
	if len(args) > 1 {
		b.Fallback.Body, status = args[0], args[1]
	} else if _, err := strconv.ParseUint(args[0], 10, 16); err == nil && len(args[0]) == 3 {
		status = args[0]
	} else {
		b.Fallback.Body = args[0]
		return nil
	}
	var err error
	if b.Fallback.Status, err = strconv.Atoi(status); err != nil || b.Fallback.Status < 200 || b.Fallback.Status > 599 {
		return p.Errf("fallback", "invalid status %q: must be from 200 to 599", status)
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
	switch {
	case s == "off":
		return 0, errInvalid("share", s, "leave it out")
	case err != nil:
		return 0, err
	case f == 0:
		return 0, errInvalid("share", s, "must be above 0 and at most 100%")
	}
	return f, nil
}

// parsePercent reads a share from 0 to 1, as a fraction or with a percent sign.
func parsePercent(s string) (float64, error) {
	digits, percent := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(digits, 64)
	switch {
	case err != nil || !(f >= 0):
		return 0, errInvalid("share", s, "want one such as 20% or 0.2")
	case percent:
		f /= 100
	case f > 1 && f <= 100: // most likely the percent sign is missing
		return 0, errInvalid("share", s, fmt.Sprintf("want %v%% or %v", f, f/100))
	}
	if f > 1 {
		return 0, errInvalid("share", s, "must be at most 100%")
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

func parseDuration(s string, most time.Duration) (caddy.Duration, error) {
	d, err := cfparse.ParseDuration(s)
	if err == nil && within(caddy.Duration(d), most) != nil {
		err = errInvalid("duration", s, fmt.Sprintf("must be from %s to %s", leastDuration, brief(most)))
	}
	return caddy.Duration(d), err
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
		return 0, p.Errf(option, "%w, or off", err)
	}
	return n, nil
}

func durationOption(p *cfparse.Parser, option string) (caddy.Duration, error) {
	d, err := p.Duration(option)
	return caddy.Duration(d), err
}

// timeoutOrOff takes a deadline, or off.
func timeoutOrOff(p *cfparse.Parser, option string) (caddy.Duration, error) {
	word, err := p.Word(option)
	if err != nil || word == "off" {
		return off, err
	}
	d, err := parseDuration(word, longestTimeout)
	if err != nil {
		return 0, p.Errf(option, "%w, or off", err)
	}
	return d, nil
}
