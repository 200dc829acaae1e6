package edgecache

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/placeholder"
)

// KeyRules configures what is part of the key beside the namespace, the scheme,
// the host and the request target. The zero value adds nothing.
type KeyRules struct {
	// Query says which query parameters count.
	Query *Query `json:"query,omitempty"`

	// Headers are request fields whose values are part of the key.
	Headers []string `json:"headers,omitempty"`

	// Cookies are cookies whose values are part of the key.
	Cookies []string `json:"cookies,omitempty"`

	// Values are texts with placeholders whose values are part of the key, such as
	// {http.vars.device}. What map and the like set under names of their own comes
	// by way of vars.
	Values []string `json:"values,omitempty"`

	// IgnoreHost leaves the host out, so that all hosts of this handler share
	// responses. The origin still sees the host: only for origins that answer
	// alike for every host.
	IgnoreHost bool `json:"ignore_host,omitempty"`

	// IgnoreScheme lets http and https share responses.
	IgnoreScheme bool `json:"ignore_scheme,omitempty"`
}

func (k *KeyRules) provision() error {
	if k.Query != nil {
		if err := k.Query.validate(); err != nil {
			return err
		}
	}
	var err error
	if k.Headers, err = canonicalNames("key: header", k.Headers); err != nil {
		return err
	}
	if slices.Contains(k.Headers, "Host") {
		return fmt.Errorf("edge_cache: key: header: Host is always part of the key, unless ignore_host takes it out")
	}
	for _, c := range k.Cookies {
		if !validToken(c) {
			return fmt.Errorf("edge_cache: key: cookie: invalid cookie name %q", c)
		}
	}
	for _, v := range k.Values {
		names := placeholders.FindAllString(v, -1)
		if names == nil {
			return fmt.Errorf("edge_cache: key: value: %q holds no placeholder", v)
		}
		for _, name := range names {
			if err := placeholder.Check(strings.Trim(name, "{}"), beside...); err != nil {
				return fmt.Errorf("edge_cache: key: value: %w", err)
			}
		}
	}
	return nil
}

var placeholders = regexp.MustCompile(`\{[^{}]*\}`)

// beside are placeholders that are not of the request and yet make sense in a key:
// of the environment, such as a release, and what errors and proxies in front said.
var beside = []string{"env.", "system.", "http.error.", "http.reverse_proxy.", "http.intercept."}

// Markers in front of the optional parts of a key. No part may hold a NUL, so a
// key can be read in one way only.
const (
	partOriginal = '\x01'
	partHeader   = '\x02'
	partCookie   = '\x03'
	partValue    = '\x04'
	partVary     = '\x05'
	partVariety  = '\x06'
	partServer   = '\x07'
)

// ignored stands for a scheme or host that is not part of the key; no request
// has it.
const ignored = '*'

// keyer builds keys; it belongs to one handler and is safe for concurrent
// use.
type keyer struct {
	namespace string
	rules     KeyRules
	query     *queryRules
	keyed     bool // the unkeyed fields are keyed instead of stripped
	// variety is a hash of the options that decide what a stored response may
	// have been made from; "" for the defaults. Handlers that differ in them
	// share nothing.
	variety string

	// listeners are those of the server that was asked last; a handler belongs
	// to one.
	listeners atomic.Pointer[listeners]
}

// target is what a request asks for, in the form that is keyed and forwarded.
type target struct {
	scheme   string
	host     string // lower case, without the default port
	path     string // escaped path as it leaves for the origin
	query    string // as it is keyed
	original string // the client's request target, query rules applied; "" when it is the same
	trusted  bool   // Caddy trusts the client as a proxy; set for fetches only
}

// scratch is the reusable memory of one key under construction.
type scratch struct{ buf []byte }

var scratches = sync.Pool{New: func() any { return &scratch{buf: make([]byte, 0, 512)} }}

// targetOf returns what r asks for. It allocates only for unusual requests.
func (k *keyer) targetOf(r *http.Request) target {
	t := target{scheme: "http", host: r.Host, path: r.URL.EscapedPath(), query: k.query.apply(r.URL.RawQuery)}
	if r.TLS != nil {
		t.scheme = "https"
	}
	t.host = canonicalHost(r.Host, t.scheme)
	if t.path == "" {
		t.path = "/"
	}
	original := r.RequestURI
	if o, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		original = o.RequestURI
	}
	if k.query != nil {
		if path, raw, ok := strings.Cut(original, "?"); ok {
			original = joinTarget(path, k.query.apply(raw))
		}
	}
	if !equalTarget(original, t.path, t.query) {
		t.original = original
	}
	return t
}

func joinTarget(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

// equalTarget reports whether target is path?query, without building it.
func equalTarget(target, path, query string) bool {
	rest, ok := strings.CutPrefix(target, path)
	if !ok {
		return false
	}
	if query == "" {
		return rest == ""
	}
	return len(rest) == len(query)+1 && rest[0] == '?' && rest[1:] == query
}

// url returns the URL that operators purge by: the one the client asked for.
func (t *target) url() string { return t.scheme + "://" + t.host + t.requestURI() }

// requestURI returns the path and query that the client asked for.
func (t *target) requestURI() string {
	uri := t.original
	if uri == "" {
		uri = joinTarget(t.path, t.query)
	}
	if !strings.HasPrefix(uri, "/") {
		if u, err := url.Parse(uri); err == nil {
			uri = u.RequestURI()
		}
	}
	return uri
}

// append builds the primary key of a request. ok is false when a part holds a
// NUL byte: such a request is not cached.
func (k *keyer) append(buf []byte, t *target, r *http.Request) (key []byte, ok bool) {
	nuls := 3
	buf = append(buf, k.namespace...)
	buf = append(buf, 0)
	if k.rules.IgnoreScheme {
		buf = append(buf, ignored)
	} else {
		buf = append(buf, t.scheme...)
	}
	buf = append(buf, 0)
	if k.rules.IgnoreHost {
		buf = append(buf, ignored)
	} else {
		buf = append(buf, t.host...)
	}
	buf = append(buf, 0)
	buf = append(buf, t.path...)
	if t.query != "" {
		buf = append(buf, '?')
		buf = append(buf, t.query...)
	}
	if t.original != "" {
		buf = append(buf, 0, partOriginal)
		buf = append(buf, t.original...)
		nuls++
	}
	buf, n := k.appendServer(buf, t, r)
	nuls += n
	if k.variety != "" {
		buf = append(buf, 0, partVariety)
		buf = append(buf, k.variety...)
		nuls++
	}
	if len(k.rules.Headers) > 0 || len(k.rules.Cookies) > 0 || len(k.rules.Values) > 0 {
		buf, n = k.appendRules(buf, r)
		nuls += n
	}
	if k.keyed || trusted(r) {
		buf, n = appendUnkeyed(buf, r.Header, k.keyed)
		nuls += n
	}
	return buf, bytes.Count(buf, nul) == nuls
}

var nul = []byte{0}

func (k *keyer) appendRules(buf []byte, r *http.Request) ([]byte, int) {
	nuls := 0
	part := func(marker byte, name, value string) {
		buf = append(buf, 0, marker)
		buf = append(buf, name...)
		buf = append(buf, '=')
		buf = append(buf, value...)
		nuls++
	}
	for _, h := range k.rules.Headers {
		if values, ok := r.Header[h]; ok { // an empty field is not an absent one
			part(partHeader, h, strings.Join(values, ", "))
		}
	}
	for _, c := range k.rules.Cookies {
		for name, value := range cookiesOf(r.Header) {
			if name == c {
				part(partCookie, c, value)
			}
		}
	}
	if len(k.rules.Values) > 0 {
		repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		for _, v := range k.rules.Values {
			part(partValue, v, repl.ReplaceAll(v, ""))
		}
	}
	return buf, nuls
}

// trusted reports whether Caddy trusts the client as a proxy.
func trusted(r *http.Request) bool {
	t, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return t
}

// appendUnkeyed adds the well-known unkeyed fields. From a trusted proxy only
// those that Caddy's proxy passes on for it are there.
func appendUnkeyed(buf []byte, h http.Header, all bool) ([]byte, int) {
	var names []string
	for name := range h {
		if unkeyed(name) && (all || passedForTrusted(name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		buf = append(buf, 0, partHeader)
		buf = append(buf, name...)
		buf = append(buf, '=')
		buf = append(buf, strings.Join(h[name], ", ")...)
	}
	return buf, len(names)
}

// canonicalHost lower-cases a host and drops the scheme's default port. It does
// not allocate when there is nothing to change.
func canonicalHost(host, scheme string) string {
	port := ":80"
	if scheme == "https" {
		port = ":443"
	}
	return strings.TrimSuffix(strings.ToLower(host), port)
}
