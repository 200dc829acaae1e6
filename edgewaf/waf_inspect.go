package edgewaf

import (
	"bytes"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/edgewaf/content"
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
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(i.placeholder)
	}
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
			i.f.logger.Error("a rule limits by a zone that no edge_limit in front has", zap.String("rule_id", rule.ID), zap.String("zone", rule.Zone))
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
		wafDuration().Observe(time.Since(start).Seconds())
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

// byPacks holds the request against the packs.
func (i *inspection) byPacks() {
	set := i.f.rules.packs
	if set == nil {
		return
	}
	i.native = rules.Request{
		Method: i.r.Method, Host: i.r.Host, Proto: i.r.Proto, Header: i.r.Header, Client: i.client, Body: i.body.seen,
	}
	if extended(i.r) { // a WebSocket, which is a GET over HTTP/1
		i.native.Method, i.native.Proto = http.MethodGet, versionOf(i.r)
	}
	i.native.Path, i.native.RawQuery, _ = strings.Cut(i.r.RequestURI, "?")
	if !strings.HasPrefix(i.native.Path, "/") { // with scheme and host in front
		i.native.Path = i.r.URL.EscapedPath()
	}
	var matches []rules.Match
	set.Request(&i.native, func(m rules.Match) { matches = append(matches, m) })
	i.decide(matches)
}

// decide does what the rules of packs say that found something.
func (i *inspection) decide(matches []rules.Match) {
	n := 0
	for _, m := range matches {
		if has(i.offIDs, m.Rule.ID) {
			continue
		}
		matches[n] = m
		n++
		i.find(audit.Finding{
			Rule: m.Rule.ID, Message: m.Rule.Description, Tags: m.Rule.Tags, Mode: i.modeOf(m.Rule).String(), Variable: m.Where, Excerpt: excerptOf(m),
		}, m.Rule.Log)
	}
	v := rules.Decide(matches[:n], i.modeOf)
	switch {
	case v.Block != nil:
		i.block(v.Block.ID, v.Block.Status, false)
	case v.Would != nil && i.level != levelShadow: // else it is told what would be done in force
		i.block(v.Would.ID, v.Would.Status, true)
	}
	if v.Allow != nil {
		i.allowed = true
		if !i.blocked && !i.would {
			i.reason(v.Allow.ID)
		}
	}
	if v.BypassCache != nil {
		reqinfo.From(i.r).Set(reqinfo.BypassCache, v.BypassCache.ID)
	}
	if i.level == levelShadow && len(v.Limits) > 0 {
		i.block(v.Limits[0].ID, http.StatusTooManyRequests, true)
		return
	}
	i.zones = append(i.zones, v.Limits...)
}

// modeOf is the mode of a rule for this request.
func (i *inspection) modeOf(r *rules.Rule) rules.Mode {
	if has(i.shadowed, r.ID) {
		return rules.Shadow
	}
	return r.Mode
}

// excerptOf is what may be told of what a rule of a pack found.
func excerptOf(m rules.Match) string {
	if _, name, ok := strings.Cut(m.Where, " "); ok && audit.Secret(name) {
		return audit.Redacted
	}
	return audit.Clean(m.Excerpt, audit.MaxExcerpt)
}

// byEngine has the engine evaluate the request.
func (i *inspection) byEngine() {
	if i.f.engine == nil {
		return
	}
	if i.shorten(); i.over() {
		return
	}
	if i.f.Budget > 0 && i.work() > i.f.Budget {
		if i.f.OnBudget == OnReject {
			i.fail("budget", http.StatusRequestEntityTooLarge, outcomeBudget)
		} else {
			i.failure = outcomeBudget
		}
		return
	}
	engine := i.f.engine.Value()
	i.seen = i.view()
	if i.f.structured != nil && (i.body.kind == content.JSON || i.body.kind == content.XML) && structured(i.r) {
		i.off = append(slices.Clip(i.off), i.f.structured)
	}
	session := engine.Begin(i.seen, i.off)
	i.session = session
	v := session.Request()
	if !v.Blocked || len(i.shadows) == 0 || i.level == levelShadow {
		i.verdict(v, false)
		return
	}
	// What rules in shadow mode would have done is told. What is done is decided without
	// them.
	i.verdict(v, true)
	_ = session.Close()
	session = engine.Begin(i.seen, slices.Concat(i.off, i.shadows))
	i.session = session
	if v = session.Request(); v.Blocked {
		i.block(strconv.Itoa(v.Rule), statusOf(v), false)
	}
}

// leastLook is how much content is looked at even where that is more work than allowed.
const leastLook = 4 << 10

// shorten has less of the content looked at by the engine where all of it would be too much
// work, as if it were beyond the limit.
func (i *inspection) shorten() {
	b := i.body
	if i.f.Budget <= 0 || len(b.seen) <= leastLook || i.work() <= i.f.Budget {
		return
	}
	whole, boundary := b.seen, content.Boundary(i.r.Header.Get("Content-Type"))
	for n := len(whole); n > leastLook && i.work() > i.f.Budget; {
		n /= 2
		b.seen = content.Mend(b.kind, boundary, whole[:n])
	}
	if !b.long {
		i.cut()
	}
}

// cut tells of content of which only a part is looked at.
func (i *inspection) cut() {
	if !i.dry {
		wafCut().Inc()
	}
	if i.f.Body.OnLimit == OnReject {
		i.fail("body-limit", http.StatusRequestEntityTooLarge, outcomeTooLong)
	}
}

// verdict does what a verdict of the engine says.
func (i *inspection) verdict(v crs.Verdict, shadow bool) {
	if v.Err != nil {
		i.f.logger.Error("the rules could not be evaluated", zap.String("request_id", i.id), zap.Error(v.Err))
		i.fail("engine", http.StatusInternalServerError, outcomeFailed)
		return
	}
	if !i.dry {
		wafScore().Observe(float64(v.Inbound))
	}
	for n := range v.Matches {
		m := &v.Matches[n]
		variable := m.Variable
		if m.Key != "" {
			variable += ":" + m.Key
		}
		i.find(audit.Finding{
			Rule: strconv.Itoa(m.Rule), Message: audit.Clean(m.Message, audit.MaxName), Tags: m.Tags, Severity: m.Severity, Paranoia: m.Paranoia,
			Variable: audit.Clean(variable, audit.MaxName), Excerpt: audit.Excerpt(m.Variable, m.Key, m.Value),
		}, true)
	}
	if v.Inbound > 0 || v.Outbound > 0 {
		i.event.Score, i.event.Threshold = v.Inbound, i.f.CRS.Inbound
		if v.Outbound >= i.f.CRS.Outbound {
			i.event.Score, i.event.Threshold = v.Outbound, i.f.CRS.Outbound
		}
	}
	if v.Blocked {
		i.block(strconv.Itoa(v.Rule), statusOf(v), shadow)
	}
}

// statusOf is the status that a rule of an included file wants, 0 if it wants none that is
// one of a refusal.
func statusOf(v crs.Verdict) int {
	if v.Status < 400 || v.Status > 599 || v.Status == http.StatusForbidden {
		return 0
	}
	return v.Status
}

// view is what the engine sees of the request.
func (i *inspection) view() *crs.Request {
	r := i.r
	v := &crs.Request{
		ID: i.id, Method: r.Method, URI: r.RequestURI, Proto: r.Proto, Host: r.Host, Header: r.Header,
		Client: i.client, Body: i.body.seen, Processor: processorOf(i.body),
	}
	v.Chunked = len(r.TransferEncoding) > 0
	if extended(r) {
		v.Method, v.Proto, v.Chunked = http.MethodGet, versionOf(r), false
	}
	if i.body.kind == content.Other {
		v.Body = nil // the rule set would take it for a form
	}
	// What is looked at has no coding any more, so the rule against codings that can't be
	// looked into has no say.
	if i.body.decoded && r.Header.Get("Content-Encoding") != "" {
		v.Header = r.Header.Clone()
		v.Header.Del("Content-Encoding")
	}
	if _, port, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		v.ClientPort, _ = strconv.Atoi(port)
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if a, err := netip.ParseAddrPort(local.String()); err == nil {
			v.Server, v.ServerPort = a.Addr(), int(a.Port())
		}
	}
	return v
}

// versionOf is the version of HTTP of a WebSocket, in whose place net/http has another
// protocol.
func versionOf(r *http.Request) string { return fmt.Sprintf("HTTP/%d.0", r.ProtoMajor) }

// structured reports whether the content is of a type that builds on JSON or XML (RFC 6839),
// which is looked at as that.
func structured(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && (strings.HasSuffix(t, "+json") || strings.HasSuffix(t, "+xml"))
}

// processorOf is how content is read whose type says nothing of it to the engine.
func processorOf(b *requestBody) crs.Processor {
	switch b.kind {
	case content.JSON:
		return crs.ProcessorJSON
	case content.XML:
		return crs.ProcessorXML
	case content.Text:
		return crs.ProcessorText
	case content.Other, content.Form, content.Multipart, content.Stream:
	}
	return crs.ProcessorNone
}

// What things cost beside their bytes, in bytes: measured, by rules that find nothing.
const (
	perArgument = 1000
	perCookie   = 2000
	perField    = 128
	perElement  = 150 // begun or ended
)

// work estimates what the rules will have to do: bytes times rules. It is made before,
// since the engine can't be interrupted.
func (i *inspection) work() int64 {
	size := int64(len(i.r.RequestURI)) + perArgument*int64(strings.Count(i.r.RequestURI, "&"))
	for name, list := range i.r.Header {
		for _, value := range list {
			size += int64(len(name)+len(value)) + perField
			if name == "Cookie" {
				size += perCookie * int64(strings.Count(value, ";"))
			}
		}
	}
	seen := i.body.seen
	size += int64(len(seen))
	count := func(sign string) int64 { return int64(bytes.Count(seen, []byte(sign))) }
	switch i.body.kind {
	case content.Form, content.Text:
		size += perArgument * min(count("&"), int64(i.f.CRS.MaxArgs))
	case content.JSON:
		size += perArgument * min(count(","), int64(i.f.CRS.MaxArgs))
	case content.Multipart:
		size += perArgument * min(count("\n--"), int64(i.f.CRS.MaxArgs))
	case content.XML:
		size += perElement * count("<")
	case content.Other, content.Stream:
	}
	return size * int64(i.f.rules.phase)
}

// find notes what a rule found.
func (i *inspection) find(finding audit.Finding, worth bool) {
	i.event.Add(finding)
	i.found = i.found || worth
	if i.event.Rule == "" {
		i.event.Rule = finding.Rule
	}
}

// block decides that the request is to be refused. The first rule is the reason.
func (i *inspection) block(rule string, status int, shadow bool) {
	if i.blocked {
		return
	}
	if shadow || i.level == levelShadow {
		if !i.would {
			i.would = true
			i.reason(rule)
		}
		return
	}
	i.blocked = true
	i.reason(rule)
	if i.event.Status = status; status == 0 {
		i.event.Status = i.f.Status
	}
}

// fail decides about a request that could not be looked at as it should be.
func (i *inspection) fail(why string, status int, o outcome) {
	i.failure = o
	i.find(audit.Finding{Rule: why, Message: failures[why]}, true)
	i.block(why, status, false)
}

// failures are the rules of requests that could not be looked at.
var failures = map[string]string{
	"body-limit":     "content is longer than is looked at",
	"budget":         "the request would be too much work",
	"engine":         "the rules could not be evaluated",
	"response-limit": "the response is longer than is looked at",
}

// reason sets the rule that is told as the reason.
func (i *inspection) reason(rule string) { i.event.Rule = rule }

// has reports whether an id is in one of the sets.
func has(sets []map[string]bool, id string) bool {
	for _, set := range sets {
		if set[id] {
			return true
		}
	}
	return false
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
