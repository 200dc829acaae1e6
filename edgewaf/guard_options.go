package edgewaf

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/caddyedge/caddy-edge/edgewaf/hop"
	"github.com/caddyedge/caddy-edge/edgewaf/requestid"
	"github.com/caddyedge/caddy-edge/edgewaf/target"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// Defaults of a guard.
const (
	DefaultName            = "default"
	DefaultMaxFields       = 128
	DefaultMaxFieldSize    = 64 << 10
	DefaultMaxURI          = 16 << 10
	DefaultRequestIDHeader = "X-Request-Id"
	DefaultMaskIPv4        = 24
	DefaultMaskIPv6        = 48
	DefaultNotice          = time.Minute
)

// DefaultMethods are those of HTTP itself (RFC 9110 section 9, RFC 5789) but for CONNECT
// and TRACE.
var DefaultMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// claim fails when another handler of this name is defined otherwise.
func (g *Guard) claim(app *edgeapp.App) error {
	definition, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return app.Claim("edge_guard: "+g.Name, string(definition))
}

// provisionOptions checks what needs no files, and fills in defaults.
func (g *Guard) provisionOptions() error {
	for _, step := range []func() error{g.provisionName, g.provisionChecks, g.provisionMethods, g.provisionSizes, g.provisionHosts, g.provisionFields, g.provisionWords} {
		if err := step(); err != nil {
			return fmt.Errorf("edge_guard: %w", err)
		}
	}
	if err := g.SecurityHeaders.provision(); err != nil {
		return fmt.Errorf("edge_guard: security_headers: %w", err)
	}
	g.target = target.Options{DotSegments: g.DotSegments, Slashes: g.MergeSlashes}
	return nil
}

func (g *Guard) provisionName() error {
	if g.Name == "" {
		g.Name = DefaultName
	}
	return checkName(g.Name)
}

// checkName returns an error when a name is not fit for a path of the admin API.
func checkName(name string) error {
	if strings.Trim(name, "-_.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fmt.Errorf("name: invalid value %q: want letters, digits, dots, - and _", name)
	}
	return nil
}

func (g *Guard) provisionChecks() error {
	most, err := g.Mode.parse(levelEnforce)
	if err != nil {
		return fmt.Errorf("mode: %w", err)
	}
	for c := range g.levels {
		g.levels[c] = min(most, checkTable[c].level)
	}
	for id, mode := range g.Checks {
		c, err := checkOf(id)
		if err != nil {
			return fmt.Errorf("check: %w", err)
		}
		l, err := mode.parse(checkTable[c].level)
		if err != nil {
			return fmt.Errorf("check %s: %w", id, err)
		}
		g.levels[c] = min(most, l)
	}
	for _, needs := range []struct {
		check  check
		given  bool
		option string
	}{
		{checkAccess, g.Allow != nil || g.Deny != nil || g.Otherwise == OtherwiseDeny, "allow, deny or otherwise deny"},
		{checkBodySize, g.MaxBody != 0, "max_body"},
		{checkUnknownHost, len(g.Hosts) > 0, "hosts"},
	} {
		if _, set := g.Checks[needs.check.String()]; set && !needs.given {
			return fmt.Errorf("check %s: needs %s", needs.check, needs.option)
		}
	}
	return nil
}

func (g *Guard) provisionMethods() error {
	if len(g.Methods) == 0 {
		g.Methods = DefaultMethods
	}
	g.methods = make(map[string]bool, len(g.Methods))
	for _, m := range g.Methods {
		switch {
		case !httpguts.ValidHeaderFieldName(m):
			return fmt.Errorf("methods: invalid method %q", m)
		case m == http.MethodConnect:
			return fmt.Errorf("methods: CONNECT is never served; WebSockets over HTTP/2 and HTTP/3 count as GET")
		case m != strings.ToUpper(m):
			return fmt.Errorf("methods: invalid method %q: methods are in upper case", m)
		case g.methods[m]:
			return fmt.Errorf("methods: %s: given more than once", m)
		}
		g.methods[m] = true
	}
	g.allow = strings.Join(g.Methods, ", ")
	return nil
}

func (g *Guard) provisionSizes() error {
	if g.MaxFields == 0 {
		g.MaxFields = DefaultMaxFields
	}
	if g.MaxFields < 1 {
		return fmt.Errorf("max_fields: invalid value %d: must be at least 1", g.MaxFields)
	}
	for _, o := range []struct {
		option string
		value  *int64
		def    int64
	}{{"max_field_size", &g.MaxFieldSize, DefaultMaxFieldSize}, {"max_uri", &g.MaxURI, DefaultMaxURI}, {"max_body", &g.MaxBody, 0}} {
		if *o.value == 0 {
			*o.value = o.def
		}
		if *o.value < 0 {
			return fmt.Errorf("%s: invalid value %d: must not be negative", o.option, *o.value)
		}
	}
	for _, o := range []struct {
		option    string
		value     *int
		def, most int
	}{{"IPv4", &g.MaskIPv4, DefaultMaskIPv4, 32}, {"IPv6", &g.MaskIPv6, DefaultMaskIPv6, 128}} {
		if *o.value == 0 {
			*o.value = o.def
		}
		if *o.value < 1 || *o.value > o.most {
			return fmt.Errorf("mask_client: invalid number of bits %d of %s: want 1 to %d", *o.value, o.option, o.most)
		}
	}
	return nil
}

func (g *Guard) provisionHosts() error {
	g.hosts = make(map[string]bool, len(g.Hosts))
	for _, h := range g.Hosts {
		if !target.ValidHost(strings.TrimPrefix(h, "*.")) || target.HostName(h) != strings.ToLower(strings.TrimSuffix(h, ".")) {
			return fmt.Errorf("hosts: invalid value %q: want a name without a port, or *. and a name", h)
		}
		g.hosts[target.HostName(h)] = true
	}
	return nil
}

// provisionFields checks the names of fields.
func (g *Guard) provisionFields() error {
	for _, name := range g.EndToEnd {
		if !httpguts.ValidHeaderFieldName(name) || slices.Contains(connectionFields, textproto.CanonicalMIMEHeaderKey(name)) {
			return fmt.Errorf("end_to_end: invalid field name %q", name)
		}
	}
	if g.RequestIDHeader == "" {
		g.RequestIDHeader = DefaultRequestIDHeader
	}
	g.RequestIDHeader = textproto.CanonicalMIMEHeaderKey(g.RequestIDHeader)
	if !httpguts.ValidHeaderFieldName(g.RequestIDHeader) || slices.Contains(connectionFields, g.RequestIDHeader) || reserved[g.RequestIDHeader] {
		return fmt.Errorf("request_id_header: invalid field name %q", g.RequestIDHeader)
	}
	g.hop = hop.NewPolicy(append(slices.Clone(g.EndToEnd), g.RequestIDHeader)...)
	return nil
}

// connectionFields are about one connection alone.
var connectionFields = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// reserved fields have a meaning that an id would spoil.
var reserved = map[string]bool{
	"Authorization": true, "Cache-Control": true, "Content-Length": true, "Content-Type": true, "Cookie": true, "Host": true, "Set-Cookie": true,
}

// provisionWords checks the options that have a few values.
func (g *Guard) provisionWords() error {
	for _, o := range []struct {
		option  string
		value   *string
		allowed []string // the first one is the default
	}{
		{"chunked", &g.Chunked, []string{ChunkedClose, ChunkedTrusted}},
		{"request_id", &g.RequestID, []string{RequestIDAccept, RequestIDReplace, RequestIDOff}},
		{"respond", &g.Respond, []string{RespondAuto, RespondDirect, RespondError}},
	} {
		if *o.value == "" {
			*o.value = o.allowed[0]
		}
		if !slices.Contains(o.allowed, *o.value) {
			return fmt.Errorf("%s: unknown value %q: want one of %s", o.option, *o.value, strings.Join(o.allowed, ", "))
		}
	}
	switch g.RequestIDVersion {
	case 0, int(requestid.V4):
		g.version = requestid.V4
	case int(requestid.V7):
		g.version = requestid.V7
	default:
		return fmt.Errorf("request_id_version: invalid value %d: want 4 or 7", g.RequestIDVersion)
	}
	if g.Notice == 0 {
		g.Notice = caddy.Duration(DefaultNotice)
	}
	if g.Notice < 0 {
		return fmt.Errorf("notice: %s is negative", time.Duration(g.Notice))
	}
	return nil
}
