package edgewaf

import (
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/edgewaf/crs"
	"github.com/caddyedge/caddy-edge/edgewaf/rules"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// inspection is one request on its way through the firewall. It is for the goroutine of
// the request.
type inspection struct {
	f      *Firewall
	w      http.ResponseWriter
	r      *http.Request
	level  level
	client netip.Addr
	id     string

	// What exceptions say about this request.
	skip             bool
	off, shadows     []*crs.Removal
	offIDs, shadowed []map[string]bool

	body    *requestBody
	native  rules.Request
	seen    *crs.Request
	session evaluation // nil: the engine was not asked, or need not be any more

	event audit.Event
	zones []*rules.Rule // by which it is limited
	decided
	failure outcome
	dry     bool // the request is only explained: nothing is counted
}

// decided is what was decided in a phase.
type decided struct {
	blocked bool // it must be refused
	would   bool // it would have to be, were rules or the firewall not in shadow mode
	allowed bool
	limited bool // it was over the limit of a zone
	found   bool // a rule found something worth telling
}

// evaluation is what the firewall needs of an engine: a request is evaluated, then its
// response if that is wanted. Whatever can tell that a request is clean may stand in
// front of the rules.
type evaluation interface {
	Request() crs.Verdict
	Response(*crs.Response) crs.Verdict
	Close() error
}

// The actions that events tell of.
const (
	actBlock  = "block"
	actShadow = "shadow"
	actLog    = "log"
	actAllow  = "allow"
	actLimit  = "limit"
)

func (f *Firewall) newInspection(w http.ResponseWriter, r *http.Request, l level) (*inspection, error) {
	i := &inspection{f: f, w: w, r: r, level: l, client: clientAddr(r), off: f.core}
	for n := range f.choices {
		c := &f.choices[n]
		matches, err := c.matches(r)
		if err != nil {
			return nil, err
		}
		if !matches {
			continue
		}
		switch {
		case c.all && c.shadow:
			i.level = min(i.level, levelShadow)
		case c.all:
			i.skip = true
			return i, nil
		case c.shadow:
			if c.core != nil {
				i.shadows = append(i.shadows, c.core)
			}
			i.shadowed = append(i.shadowed, c.ids)
		default:
			if c.core != nil {
				i.off = append(slices.Clip(i.off), c.core)
			}
			i.offIDs = append(i.offIDs, c.ids)
		}
	}
	i.id = requestID(r)
	show(r, i)
	return i, nil
}

// close ends the evaluation.
func (i *inspection) close() {
	i.count()
	i.end()
}

// end gives back what the engine has of the request.
func (i *inspection) end() {
	if i.session != nil {
		_ = i.session.Close()
	}
	i.session, i.seen = nil, nil
}

// request holds the request against the rules, and refuses it if it must be.
func (i *inspection) request() (refused bool, err error) {
	if err := i.inspect(); err != nil {
		return true, err
	}
	if i.blocked {
		return true, i.refuse()
	}
	return i.charge()
}

// charge charges the request to the zones of rules that limit.
func (i *inspection) charge() (refused bool, err error) {
	for _, rule := range i.zones {
		found, refused, err := reqinfo.Charge(i.w, i.r, rule.Zone)
		if !found {
			i.trouble("a rule limits by a zone that no edge_limit in front has", zap.String("rule_id", rule.ID), zap.String("zone", rule.Zone))
			continue
		}
		if refused {
			i.limited = true
			i.reason(rule.ID)
			i.report(phaseRequest)
		}
		if refused || err != nil {
			return true, err
		}
	}
	return false, nil
}

// inspect holds the request against the rules, up to the first kind that blocks it.
func (i *inspection) inspect() error {
	if err := i.byMatchers(); err != nil || i.over() {
		return err
	}
	i.readBody()
	if i.over() {
		return nil
	}
	start := time.Now()
	i.byPacks()
	if !i.over() {
		i.byEngine()
	}
	if !i.dry {
		i.f.state.metrics.duration.Observe(time.Since(start).Seconds())
	}
	return nil
}

// over reports whether the request is decided about. One that is only explained never is.
func (i *inspection) over() bool { return i.blocked && !i.dry }

// readBody reads of the content what is looked at.
func (i *inspection) readBody() {
	if o := &i.f.Body; o.OnLimit == OnReject && o.Limit > 0 && i.r.ContentLength > o.Limit && i.needsBody() {
		i.body = &requestBody{kind: kindOf(i.r), long: true}
		i.cut()
		return
	}
	if !i.needsBody() {
		i.body = &requestBody{kind: kindOf(i.r)}
		return
	}
	if i.body = readBody(i.r, i.f.Body.Limit, i.f.Body.Decode); i.body.long {
		i.cut()
	}
}

// needsBody reports whether a rule may look at the content.
func (i *inspection) needsBody() bool {
	return i.f.Body.Limit > 0 && !extended(i.r) && (i.f.engine != nil || i.f.rules.packs.NeedsBody() || i.f.Body.OnLimit == OnReject)
}

// byMatchers holds the request against the rules by matchers.
func (i *inspection) byMatchers() error {
	for _, m := range i.f.rules.matchers {
		if has(i.offIDs, m.ID) {
			continue
		}
		matches, err := m.matches(i.r)
		if err != nil {
			return err
		}
		if !matches {
			continue
		}
		i.find(audit.Finding{Rule: m.ID, Message: "matched"}, true)
		if m.Action == MatchBlock {
			i.block(m.ID, m.Status, has(i.shadowed, m.ID))
		}
	}
	return nil
}

// requestID is the id that the guard gave the request, or Caddy's.
func requestID(r *http.Request) string {
	if found, ok := caddyhttp.GetVar(r.Context(), findingsVar).(*findings); ok && found.id != "" {
		return found.id
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if id, ok := repl.GetString("http.request.uuid"); ok {
			return id
		}
	}
	return ""
}
