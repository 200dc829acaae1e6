package edgelimit

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

const adaptiveDirective = "edge_adaptive"

func init() {
	httpcaddyfile.RegisterHandlerDirective(adaptiveDirective, parseAdaptive)
	// Behind edge_cache, in front of the handlers that answer: only what really
	// goes to the origin counts.
	httpcaddyfile.RegisterDirectiveOrder(adaptiveDirective, httpcaddyfile.Before, "metrics")
}

// parseAdaptive sets up the handler from Caddyfile tokens. Syntax:
//
//	edge_adaptive [<matcher>] {
//		name     <name>
//		mode     inflight|rate
//		p95      <duration>
//		baseline <factor>
//		min      <n>
//		max      <n>
//		initial  <n>
//		uploads  <n>
//		streams  <n>
//		fair_share on|off
//		key      <text with placeholders>
//		queue    <n> [<duration>]
//		priority high|normal|low|background <matcher>
//		priority_header <field>
//		status   503|429
//
//		# in mode rate
//		interval      <duration>
//		reduction     <factor>
//		recovery      <factor>
//		recover_below <factor>
//	}
//
// Without a name the first directive's limit is called default, that of the next
// ones default-2, default-3 and so on.
func parseAdaptive(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume directive name
	if h.NextArg() {
		return nil, h.Errf("%s: takes a matcher and a block, got %q", adaptiveDirective, h.Val())
	}
	a := &Adaptive{}
	p := cfparse.For(h.Dispenser, adaptiveDirective)
	for h.NextBlock(0) {
		option := h.Val()
		if option != "priority" {
			if err := p.Once(option); err != nil {
				return nil, err
			}
		}
		known, err := a.parseOption(h, p, option)
		if err == nil && !known {
			known, err = a.parseRateOption(p, option)
		}
		if err == nil && !known {
			err = p.Unknown(option)
		}
		if err != nil {
			return nil, err
		}
	}
	if a.Name == "" {
		a.Name = cfparse.NextName(h, adaptiveDirective, DefaultName)
	}
	return a, nil
}

func (a *Adaptive) parseOption(h httpcaddyfile.Helper, p *cfparse.Parser, option string) (known bool, err error) {
	number := func(to *int) {
		var n int64
		n, err = p.Int(option, 1, 1_000_000)
		*to = int(n)
	}
	switch option {
	case "name":
		a.Name, err = p.Word(option)
	case "mode":
		a.Mode, err = p.Word(option, ModeInflight, ModeRate)
	case "p95":
		a.P95, err = parseDuration(p, option)
	case "baseline":
		a.Baseline, err = parseFactor(p, option)
	case "min":
		number(&a.Min)
	case "max":
		number(&a.Max)
	case "initial":
		number(&a.Initial)
	case "uploads":
		number(&a.Uploads)
	case "streams":
		number(&a.Streams)
	case "fair_share":
		var on bool
		on, err = p.OnOff(option)
		a.FairShareOff = !on
	case "key":
		a.Key, err = p.Word(option)
	case "queue":
		err = a.parseQueue(p)
	case "priority":
		err = a.parsePriority(h, p)
	case "priority_header":
		a.PriorityHeader, err = p.Word(option)
	case "status":
		var word string
		word, err = p.Word(option, "503", "429")
		a.Status, _ = strconv.Atoi(word)
	default:
		return false, nil
	}
	return true, err
}

// parseRateOption parses the options of mode rate.
func (a *Adaptive) parseRateOption(p *cfparse.Parser, option string) (known bool, err error) {
	o := a.Rate
	if o == nil {
		o = &RateOptions{}
	}
	switch option {
	case "interval":
		o.Interval, err = parseDuration(p, option)
	case "reduction":
		o.Reduction, err = parseFactor(p, option)
	case "recovery":
		o.Recovery, err = parseFactor(p, option)
	case "recover_below":
		o.RecoverBelow, err = parseFactor(p, option)
	default:
		return false, nil
	}
	a.Rate = o
	return true, err
}

func parseFactor(p *cfparse.Parser, option string) (float64, error) {
	word, err := p.Word(option)
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(word, 64)
	if err != nil || !(f > 0) || f > 1e6 {
		return 0, p.Errf(option, "invalid factor %q: want a number above zero", word)
	}
	return f, nil
}

func (a *Adaptive) parseQueue(p *cfparse.Parser) error {
	words, err := p.Words("queue")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(words[0])
	if err != nil || n < 1 || n > 1_000_000 {
		return p.Errf("queue", "invalid number %q: want 1 to 1000000", words[0])
	}
	a.Queue = n
	switch len(words) {
	case 1:
	case 2:
		d, err := cfparse.ParseDuration(words[1])
		if err != nil {
			return p.Errf("queue", "%w", err)
		}
		a.QueueDeadline = caddy.Duration(d)
	default:
		return p.Errf("queue", "needs a number and at most a duration, got %q", words)
	}
	return nil
}

func (a *Adaptive) parsePriority(h httpcaddyfile.Helper, p *cfparse.Parser) error {
	if !h.NextArg() {
		return p.Errf("priority", "needs a class and a matcher")
	}
	pr := &Priority{Class: h.Val()}
	matcher, err := oneMatcher(h, p, "priority")
	if err != nil {
		return err
	}
	if matcher != nil { // "*" matches all
		pr.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcher}
	}
	a.Priorities = append(a.Priorities, pr)
	return p.Flag("priority")
}
