package edgeapp

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// CacheKey says what of a request is part of a cache's key. The zero value is
// scheme, host, path and the whole query.
type CacheKey struct {
	// Headers, in canonical form, and Cookies are part of the key.
	Headers, Cookies []string

	// Values are texts with placeholders that are part of the key.
	Values []string

	// IgnoreHost and IgnoreScheme leave the host and the scheme out.
	IgnoreHost, IgnoreScheme bool

	// Parameter reports whether a query parameter is part of the key. Nil
	// means that the whole query is.
	Parameter func(name string) bool

	// Forwards reports whether a request field, in canonical form, that is not
	// in the key is passed on. Nil means that all are.
	Forwards func(field string) bool
}

// beyond names what the matcher looks at that is not in the key, or returns "".
func (k *CacheKey) beyond(m any) string {
	switch m := m.(type) {
	case *caddyhttp.MatchPath, *caddyhttp.MatchPathRE, *caddyhttp.MatchMethod:
		return ""
	case *caddyhttp.MatchHost:
		return unless(!k.IgnoreHost, "host")
	case *caddyhttp.MatchProtocol:
		return k.beyondProtocol(string(*m))
	case *caddyhttp.MatchURLPattern:
		return unless(!k.IgnoreHost && !k.IgnoreScheme && k.Parameter == nil, "url_pattern")
	case *caddyhttp.MatchQuery:
		return k.beyondNames("query", sortedKeys(*m), func(name string) bool { return k.Parameter == nil || k.Parameter(name) })
	case *caddyhttp.MatchHeader:
		if passes(*m) {
			return ""
		}
		return k.beyondNames("header", sortedKeys(*m), k.hasHeader)
	case *caddyhttp.MatchHeaderRE:
		return k.beyondNames("header_regexp", sortedKeys(*m), k.hasHeader)
	case *caddyhttp.VarsMatcher:
		return k.beyondNames("vars", sortedKeys(*m), k.hasVar)
	case *caddyhttp.MatchVarsRE:
		return k.beyondNames("vars_regexp", sortedKeys(*m), k.hasVar)
	case *caddyhttp.MatchExpression:
		return unless(k.hasExpression(m.Expr), "expression")
	case *fileserver.MatchFile:
		// Whether a file exists depends on the path. php_fastcgi redirects
		// to the directory's slash by it, behind the cache.
		return unless(k.hasPlaceholders(m.Root+strings.Join(m.TryFiles, "")), "file")
	case *caddyhttp.MatchNot:
		for _, set := range m.MatcherSets {
			for _, inner := range set {
				if what := k.beyond(inner); what != "" {
					return what
				}
			}
		}
		return ""
	default:
		return moduleName(m)
	}
}

// conditions returns those that the key decides: requests of which one meets
// them and another does not have different keys.
func (k *CacheKey) conditions(all []condition) []condition {
	return slices.DeleteFunc(slices.Clone(all), func(c condition) bool {
		switch c.kind {
		case onHost:
			return k.IgnoreHost
		case onPath:
			return false
		case onMethod:
			return true
		default:
			return asksMethod(c.matcher) || k.beyond(c.matcher) != ""
		}
	})
}

func unless(keyed bool, what string) string {
	if keyed {
		return ""
	}
	return what
}

// beyondNames lists the names that are not in the key, behind what they are.
func (k *CacheKey) beyondNames(what string, names []string, has func(string) bool) string {
	rest := slices.DeleteFunc(slices.Clone(names), has)
	return unless(len(rest) == 0, what+" "+strings.Join(rest, " "))
}

func (k *CacheKey) hasHeader(field string) bool {
	field = http.CanonicalHeaderKey(field)
	// Requests that may be stored are passed on without these two.
	return field == "Connection" || field == "Upgrade" || slices.Contains(k.Headers, field)
}

// beyondProtocol knows that a gRPC request never meets the cache.
func (k *CacheKey) beyondProtocol(protocol string) string {
	switch protocol {
	case "http", "https":
		return unless(!k.IgnoreScheme, "protocol")
	case "grpc":
		return ""
	default:
		return "protocol"
	}
}

// passes is true for the usual matchers of gRPC requests and of requests for an
// event stream: those never meet the cache, so no other client can be given
// their responses.
func passes(m caddyhttp.MatchHeader) bool {
	if len(m) != 1 {
		return false
	}
	for field, values := range m {
		if len(values) == 0 || slices.ContainsFunc(values, func(v string) bool {
			grpc := field == "Content-Type" && strings.HasPrefix(v, "application/grpc")
			stream := field == "Accept" && v == "text/event-stream"
			return !grpc && !stream
		}) {
			return false
		}
	}
	return true
}

// hasVar takes the name of a variable or a placeholder in braces.
func (k *CacheKey) hasVar(name string) bool {
	if strings.HasPrefix(name, "{") {
		return k.hasPlaceholders(name)
	}
	return k.hasPlaceholder("http.vars." + name)
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// hasPlaceholders reports whether the key determines all placeholders in text.
func (k *CacheKey) hasPlaceholders(text string) bool {
	return !slices.ContainsFunc(placeholder.FindAllString(text, -1), func(p string) bool {
		return !k.hasPlaceholder(strings.Trim(p, "{}"))
	})
}

func (k *CacheKey) hasPlaceholder(name string) bool {
	if slices.ContainsFunc(k.Values, func(v string) bool { return strings.Contains(v, "{"+name+"}") }) {
		return true
	}
	if parameter, ok := strings.CutPrefix(name, "http.request.uri.query."); ok && k.Parameter != nil {
		return k.Parameter(parameter)
	}
	if field, ok := strings.CutPrefix(name, "http.request.header."); ok {
		return slices.Contains(k.Headers, http.CanonicalHeaderKey(field))
	}
	if cookie, ok := strings.CutPrefix(name, "http.request.cookie."); ok {
		return slices.Contains(k.Cookies, cookie)
	}
	switch {
	case name == "http.vars.root": // looked at where it is set
		return true
	case name == "http.request.scheme":
		return !k.IgnoreScheme
	case name == "http.request.host" || strings.HasPrefix(name, "http.request.host."):
		return !k.IgnoreHost
	case strings.HasPrefix(name, "http.request.uri.path"), strings.HasPrefix(name, "http.request.orig_uri.path"):
		return true
	case strings.HasPrefix(name, "http.request.uri"), strings.HasPrefix(name, "http.request.orig_uri"):
		return k.Parameter == nil
	default:
		return slices.ContainsFunc(notOfClients, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
}

// notOfClients are the beginnings of placeholders that are the same for all
// clients with one key: the server's own, and what the origin's response and its
// errors say.
var notOfClients = []string{
	"env.", "system.", "time.", "http.request.method", "http.request.orig_method", "http.matchers.file.",
	"http.reverse_proxy.status_", "http.intercept.status_", "http.error.",
}

var (
	celString = regexp.MustCompile("'(?:[^'\\\\]|\\\\.)*'|\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`")
	celName   = regexp.MustCompile(`[A-Za-z_]\w*`)
)

// celNames are the names in expressions that look at nothing but host, method
// and path. Those of all other matchers are missing.
var celNames = []string{
	"host", "method", "path", "path_regexp", "true", "false", "in", "size", "contains", "matches", "startsWith", "endsWith", "string", "int",
}

// hasExpression reports whether the key determines a CEL expression. It says no
// when it cannot tell.
func (k *CacheKey) hasExpression(expr string) bool {
	if !k.hasPlaceholders(expr) {
		return false
	}
	rest := celString.ReplaceAllString(placeholder.ReplaceAllString(expr, "0"), "0")
	for _, name := range celName.FindAllString(rest, -1) {
		if name == "query" && k.Parameter == nil {
			continue
		}
		if !slices.Contains(celNames, name) || name == "host" && k.IgnoreHost {
			return false
		}
	}
	return true
}

// moduleName is the last part of the ID of a module.
func moduleName(m any) string {
	module, ok := m.(caddy.Module)
	if !ok {
		return fmt.Sprintf("%T", m)
	}
	return module.CaddyModule().ID.Name()
}
