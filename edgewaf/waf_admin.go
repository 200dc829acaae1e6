package edgewaf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/internal/api"
)

func init() {
	api.Register(
		api.Route{Method: http.MethodGet, Path: "/edge/waf/status", Role: api.Read, Handle: serveWafStatus},
		api.Route{Method: http.MethodGet, Path: "/edge/waf/rules", Role: api.Read, Handle: serveWafRules},
		api.Route{Method: http.MethodGet, Path: "/edge/waf/events", Role: api.Read, Handle: serveWafEvents},
		api.Route{Method: http.MethodPost, Path: "/edge/waf/mode", Role: api.Operate, Handle: serveWafMode},
		api.Route{Method: http.MethodPost, Path: "/edge/waf/explain", Role: api.Read, Handle: serveWafExplain},
	)
}

// runningFirewalls returns the firewalls of the running config, by name.
func runningFirewalls() []*Firewall {
	var all []*Firewall
	firewalls.Range(func(_ string, s *wafState) bool {
		if f := s.running.Load(); f != nil {
			all = append(all, f)
		}
		return true
	})
	slices.SortFunc(all, func(a, b *Firewall) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// firewallOfName looks a firewall up for a request.
func firewallOfName(name string) (*Firewall, error) {
	name = cmp.Or(name, DefaultName)
	if s, ok := firewalls.Peek(name); ok {
		if f := s.running.Load(); f != nil {
			return f, nil
		}
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("firewall: there is none named %q", name)}
}

// wafReply describes a firewall.
type wafReply struct {
	Name       string            `json:"name"`
	Mode       string            `json:"mode"`
	Configured string            `json:"mode_configured"`
	Requests   map[string]uint64 `json:"requests"`
	Packs      []packReply       `json:"packs"`
	RuleSet    string            `json:"rule_set,omitempty"`
	Events     uint64            `json:"events"`
	Unlogged   uint64            `json:"events_unlogged"`
}

// packReply describes a pack.
type packReply struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	File    string `json:"file"`
	Rules   int    `json:"rules"`
}

// setReply describes a compiled rule set.
type setReply struct {
	Key            string  `json:"rule_set"`
	Rules          int     `json:"rules"`
	CompileSeconds float64 `json:"compile_seconds"`
	Bytes          int64   `json:"bytes"`
}

func serveWafStatus(w http.ResponseWriter, _ *http.Request) error {
	list := []wafReply{}
	for _, f := range runningFirewalls() {
		reply := wafReply{
			Name: f.Name, Mode: f.effective().String(), Configured: f.level.String(), Requests: make(map[string]uint64), Packs: []packReply{},
			Events: f.state.total(), Unlogged: f.state.dropped.Load(),
		}
		for o := range outcomes {
			reply.Requests[o.String()] = f.state.counts[o].Load()
		}
		for _, p := range f.rules.packs.Packs() {
			reply.Packs = append(reply.Packs, packReply{Name: p.Name, Version: p.Version, File: p.File, Rules: len(p.Rules)})
		}
		if f.engine != nil {
			reply.RuleSet = f.engine.Value().Key()
		}
		list = append(list, reply)
	}
	sets := []setReply{}
	engines.Range(func(key string, e *rulesEngine) bool {
		s := e.Stats()
		sets = append(sets, setReply{Key: key, Rules: s.Rules, CompileSeconds: s.CompileTime.Seconds(), Bytes: s.Bytes})
		return true
	})
	slices.SortFunc(sets, func(a, b setReply) int { return strings.Compare(a.Key, b.Key) })
	return api.WriteJSON(w, map[string]any{"firewalls": list, "rule_sets": sets})
}

// ruleReply describes a rule and what it did since the firewall was made.
type ruleReply struct {
	ID       string   `json:"rule_id"`
	Source   string   `json:"source"` // matcher, pack or crs
	Message  string   `json:"message,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Phase    string   `json:"phase"`
	Paranoia int      `json:"paranoia,omitempty"`
	Action   string   `json:"action,omitempty"`
	Mode     string   `json:"mode,omitempty"`
	// Counts are left out of rules that found nothing.
	Counts *ruleCount `json:"counts,omitempty"`
}

// serveWafRules lists the rules of a firewall: ?firewall= (default: default), ?tag=, and
// ?found=true for those that found something.
func serveWafRules(w http.ResponseWriter, r *http.Request) error {
	f, err := firewallOfName(r.FormValue("firewall"))
	if err != nil {
		return err
	}
	counts := f.state.ruleCounts()
	list := []ruleReply{}
	tag, found := r.FormValue("tag"), r.FormValue("found") == "true"
	add := func(reply ruleReply) {
		reply.Counts = counts[reply.ID]
		if tag != "" && !slices.Contains(reply.Tags, tag) || found && reply.Counts == nil {
			return
		}
		list = append(list, reply)
	}
	for _, m := range f.rules.matchers {
		add(ruleReply{ID: m.ID, Source: "matcher", Phase: phaseRequest, Action: m.Action})
	}
	for _, p := range f.rules.packs.Rules() {
		add(ruleReply{ID: p.ID, Source: "pack", Message: p.Description, Tags: p.Tags, Phase: p.Phase.String(), Action: p.Action.String(), Mode: p.Mode.String()})
	}
	if f.engine != nil {
		for _, c := range f.engine.Value().Rules() {
			if c.Message == "" {
				continue // sets variables
			}
			phase := phaseRequest
			if c.Phase > 2 {
				phase = phaseResponse
			}
			add(ruleReply{ID: strconv.Itoa(c.ID), Source: "crs", Message: c.Message, Tags: c.Tags, Severity: c.Severity, Phase: phase, Paranoia: c.Paranoia})
		}
	}
	return api.WriteJSON(w, map[string]any{"firewall": f.Name, "rules": list})
}

// serveWafEvents lists the latest events, the newest first: ?firewall= (default:
// default), ?n= (default: 100), ?rule=, ?action=, ?client=, ?request_id=.
func serveWafEvents(w http.ResponseWriter, r *http.Request) error {
	f, err := firewallOfName(r.FormValue("firewall"))
	if err != nil {
		return err
	}
	n := 100
	if text := r.FormValue("n"); text != "" {
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			return badRequest("n: invalid value %q: want a number above zero", text)
		}
	}
	rule, action, client, id := r.FormValue("rule"), r.FormValue("action"), r.FormValue("client"), r.FormValue("request_id")
	events := f.state.latest(n, func(e *audit.Event) bool {
		return (action == "" || e.Action == action) && (client == "" || e.Client == client) && (id == "" || e.RequestID == id) &&
			(rule == "" || slices.ContainsFunc(e.Findings, func(f audit.Finding) bool { return f.Rule == rule }))
	})
	if events == nil {
		events = []audit.Event{}
	}
	return api.WriteJSON(w, map[string]any{"firewall": f.Name, "events": events})
}

// serveWafMode sets the mode of a firewall until the config has another one; "" follows
// the config.
func serveWafMode(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Firewall string `json:"firewall"`
		Mode     *Mode  `json:"mode"`
	}
	if err := api.ReadJSON(r, &q); err != nil {
		return err
	}
	f, err := firewallOfName(q.Firewall)
	if err != nil {
		return err
	}
	if q.Mode == nil {
		return badRequest("mode: want enforce, shadow or off, or an empty one to follow the config")
	}
	var set *override
	if *q.Mode != "" {
		l, err := q.Mode.parse(levelEnforce)
		if err != nil {
			return badRequest("mode: %w", err)
		}
		set = &override{l, f.level}
	}
	f.state.set.Store(set)
	caddy.Log().Named("admin.api.edge").Info("changed the mode of a firewall", zap.String("firewall", f.Name), zap.String("mode", f.effective().String()))
	return api.WriteJSON(w, map[string]any{"firewall": f.Name, "mode": f.effective().String()})
}

// explainRequest is a request that is only held against the rules.
type explainRequest struct {
	Firewall string      `json:"firewall"`
	Method   string      `json:"method"`
	URI      string      `json:"uri"`
	Host     string      `json:"host"`
	Header   http.Header `json:"header"`
	Body     string      `json:"body"`
	// BodyBase64 is the content in base64, instead of Body.
	BodyBase64 []byte `json:"body_base64,omitempty"`
	Client     string `json:"client"`
}

// explainReply says what the rules make of it.
type explainReply struct {
	Firewall  string           `json:"firewall"`
	Mode      string           `json:"mode"`
	Action    string           `json:"action"` // block, shadow, log or pass
	Status    int              `json:"status,omitempty"`
	Rule      string           `json:"rule_id,omitempty"`
	Score     int              `json:"score"`
	Threshold int              `json:"threshold"`
	Findings  []explainFinding `json:"findings"`
	Micros    int64            `json:"microseconds"`
}

// explainFinding is a finding with the line that would silence it, if there is one.
type explainFinding struct {
	audit.Finding
	Exclude string `json:"exclude,omitempty"`
}

// serveWafExplain holds a request against the rules of a firewall, without sending it
// anywhere or counting it. Matchers are asked as for a request of a site, but for what
// only a connection has.
func serveWafExplain(w http.ResponseWriter, r *http.Request) error {
	var q explainRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return err
	}
	f, err := firewallOfName(q.Firewall)
	if err != nil {
		return err
	}
	dry, err := q.request(r)
	if err != nil {
		return badRequest("%w", err)
	}
	reply, err := f.explainDry(dry)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, reply)
}

// request makes the request that is described.
func (q *explainRequest) request(r *http.Request) (*http.Request, error) {
	method, target := cmp.Or(q.Method, http.MethodGet), cmp.Or(q.URI, "/")
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fmt.Errorf("uri: invalid value %q: want a path, and a query if you like", target)
	}
	body := q.BodyBase64
	if q.Body != "" {
		if len(body) > 0 {
			return nil, errors.New("body: there is a body_base64 too")
		}
		body = []byte(q.Body)
	}
	dry, err := http.NewRequestWithContext(r.Context(), method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	dry.RequestURI, dry.Host = target, cmp.Or(q.Host, u.Host, "localhost")
	for name, values := range q.Header {
		dry.Header[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	if len(body) == 0 {
		dry.Body = http.NoBody
	} else if dry.Header.Get("Content-Length") == "" {
		dry.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if host := dry.Header.Get("Host"); host != "" {
		dry.Host = host
		dry.Header.Del("Host")
	}
	client := cmp.Or(q.Client, "127.0.0.1")
	a, err := netip.ParseAddr(client)
	if err != nil {
		return nil, fmt.Errorf("client: invalid value %q: want an address", client)
	}
	dry.RemoteAddr = netip.AddrPortFrom(a, 40000).String()
	return dry, nil
}

// explainDry holds a request against the rules.
func (f *Firewall) explainDry(r *http.Request) (*explainReply, error) {
	level := f.effective()
	reply := &explainReply{Firewall: f.Name, Mode: level.String(), Action: "pass", Threshold: f.CRS.Inbound, Findings: []explainFinding{}}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, host)
	}
	start := time.Now()
	i, err := f.newInspection(nil, r, max(level, levelShadow))
	if err != nil {
		return nil, err
	}
	if i.skip {
		reply.Action = "skip"
		return reply, nil
	}
	i.dry = true
	defer i.end()
	if err := i.inspect(); err != nil {
		return nil, err
	}
	reply.Micros = time.Since(start).Microseconds()
	if len(i.event.Findings) > 0 {
		reply.Action, reply.Rule, reply.Score = i.action(), i.event.Rule, i.event.Score
	}
	if i.blocked {
		reply.Status = i.event.Status
	}
	for _, finding := range i.event.Findings {
		reply.Findings = append(reply.Findings, explainFinding{finding, audit.Line(finding.Rule, finding.Variable, r.URL.Path)})
	}
	return reply, nil
}
