package edgewaf

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/edgewaf/content"
	"github.com/caddyedge/caddy-edge/edgewaf/crs"
)

// byEngine has the engine evaluate the request.
func (i *inspection) byEngine() {
	if i.f.engine == nil {
		return
	}
	i.abridge()
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
	i.enforce(session.Request())
}

// enforce decides by an evaluation whose findings are told of already.
func (i *inspection) enforce(v crs.Verdict) {
	switch {
	case v.Err != nil:
		i.failed(v.Err)
	case v.Blocked:
		i.block(strconv.Itoa(v.Rule), statusOf(v), false)
	}
}

// failed decides about a request that could not be evaluated.
func (i *inspection) failed(err error) {
	i.trouble("the rules could not be evaluated", zap.String("request_id", i.id), zap.Error(err))
	i.fail("engine", http.StatusInternalServerError, outcomeFailed)
}

// verdict does what a verdict of the engine says.
func (i *inspection) verdict(v crs.Verdict, shadow bool) {
	if v.Err != nil {
		i.failed(v.Err)
		return
	}
	if !i.dry {
		i.f.state.metrics.score.Observe(float64(v.Inbound))
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
