package edgelimit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/placeholder"
)

// DefaultKey limits each client address.
const DefaultKey = "{http.vars.client_ip}"

// keyer makes the key of a request: a template of literals and placeholders,
// with the client's address cut down to a prefix. It is safe for concurrent use.
type keyer struct {
	parts  []part
	v4, v6 int  // prefix lengths; below zero such an address is no key
	names  bool // some part tells clients apart, and may be empty
}

// part is one piece of a template.
type part struct {
	kind kind
	text string // a literal, or the name of what is read
}

type kind uint8

const (
	literal kind = iota
	clientIP
	remoteIP
	header
	cookie
	path
	host
	method
	other
)

// maxValue bounds what one placeholder gives to a key, in bytes. More is hashed
// no longer: the rest of a longer value does not count.
const maxValue = 1 << 10

// parseKey parses a template such as "{http.vars.client_ip} {http.request.uri.path}".
func parseKey(template string, v4, v6 int) (*keyer, error) {
	k := &keyer{v4: v4, v6: v6}
	rest := template
	for rest != "" {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			k.literal(rest)
			break
		}
		k.literal(rest[:open])
		end := strings.IndexByte(rest[open:], '}')
		if end < 0 {
			return nil, fmt.Errorf("%q: a placeholder is not closed", template)
		}
		p, err := parsePlaceholder(rest[open+1 : open+end])
		if err != nil {
			return nil, err
		}
		k.parts = append(k.parts, p)
		rest = rest[open+end+1:]
	}
	for _, p := range k.parts {
		k.names = k.names || p.identity()
	}
	if len(k.parts) == 0 {
		return nil, fmt.Errorf("is empty")
	}
	return k, nil
}

func (k *keyer) literal(s string) {
	if s != "" {
		k.parts = append(k.parts, part{literal, s})
	}
}

// direct are the placeholders that are read without a replacer.
var direct = map[string]kind{
	"http.vars.client_ip": clientIP, "http.request.remote.host": remoteIP, "http.request.uri.path": path,
	"http.request.host": host, "http.request.method": method,
}

func parsePlaceholder(name string) (part, error) {
	if k, ok := direct[name]; ok {
		return part{kind: k}, nil
	}
	if field, ok := strings.CutPrefix(name, "http.request.header."); ok && field != "" {
		return part{header, http.CanonicalHeaderKey(field)}, nil
	}
	if n, ok := strings.CutPrefix(name, "http.request.cookie."); ok && n != "" {
		return part{cookie, n}, nil
	}
	return part{other, name}, placeholder.Check(name)
}

// covers reports whether addresses of that family have a prefix length.
func (k *keyer) covers(a netip.Addr) bool {
	return a.Is4() && k.v4 >= 0 || a.Is6() && k.v6 >= 0
}

// resources are what the names of placeholders begin with that tell resources
// apart, not clients.
var resources = []string{
	"http.request.uri", "http.request.orig_", "http.request.scheme", "http.request.proto", "http.request.port", "http.request.host",
	"http.request.local",
}

// identity reports whether the part may tell clients apart.
func (p part) identity() bool {
	switch p.kind {
	case clientIP, remoteIP, header, cookie:
		return true
	case other:
		return strings.HasPrefix(p.text, "http.request.uri.query.") ||
			!slices.ContainsFunc(resources, func(prefix string) bool { return strings.HasPrefix(p.text, prefix) })
	case literal, path, host, method:
	}
	return false
}

// append appends the key of a request to buf. A request in which everything that
// tells clients apart is empty counts for its client's address: whoever leaves a
// header out must not share the limit of all who do.
func (k *keyer) append(buf []byte, r *http.Request) []byte {
	known := !k.names
	for _, p := range k.parts {
		if p.kind == literal {
			buf = append(buf, p.text...)
			continue
		}
		// Each value has its length in front, so that no value can look like a
		// different split into values.
		mark := len(buf)
		buf = append(buf, 0, 0)
		buf = k.value(buf, p, r)
		buf = seal(buf, mark)
		known = known || len(buf) > mark+2 && p.identity()
	}
	if !known {
		buf = append(buf, 0xff)
		buf = k.value(buf, part{kind: clientIP}, r)
	}
	return buf
}

// fromValues returns the key that a request with these values of the placeholders
// has, for operators. The address of a client that counts for it follows.
func (k *keyer) fromValues(values []string) ([]byte, error) {
	n := k.placeholders()
	byAddress := len(values) == n+1 && k.names && isAddress(values[n]) // a client that counts for its address
	switch {
	case len(values) == n || byAddress:
	case n == 1:
		return nil, fmt.Errorf("want 1 value, got %d", len(values))
	default:
		return nil, fmt.Errorf("want %d values, one for each placeholder of the zone's key, got %d", n, len(values))
	}
	var buf []byte
	rest := values
	for _, p := range k.parts {
		if p.kind == literal {
			buf = append(buf, p.text...)
			continue
		}
		mark := len(buf)
		buf = append(buf, 0, 0)
		switch p.kind {
		case clientIP, remoteIP:
			if !isAddress(rest[0]) {
				return nil, fmt.Errorf("invalid address %q", rest[0])
			}
			buf = k.binary(buf, rest[0])
		case path:
			buf = append(buf, strings.ToLower(caddyhttp.CleanPath(rest[0], true))...)
		case host:
			buf = append(buf, strings.ToLower(rest[0])...)
		default:
			buf = append(buf, rest[0]...)
		}
		buf = seal(buf, mark)
		rest = rest[1:]
	}
	if byAddress {
		buf = k.binary(append(buf, 0xff), values[n])
	}
	return buf, nil
}

// placeholders returns how many there are.
func (k *keyer) placeholders() (n int) {
	for _, p := range k.parts {
		if p.kind != literal {
			n++
		}
	}
	return n
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// seal bounds the value at buf[mark:], whose first two bytes become its length.
func seal(buf []byte, mark int) []byte {
	n := min(len(buf)-mark-2, maxValue)
	buf = buf[:mark+2+n]
	buf[mark], buf[mark+1] = byte(n>>8), byte(n)
	return buf
}

// value appends the value of a placeholder as it counts for the key.
func (k *keyer) value(buf []byte, p part, r *http.Request) []byte {
	switch p.kind {
	case clientIP:
		return k.binary(buf, clientOf(r))
	case remoteIP:
		return k.binary(buf, hostOf(r.RemoteAddr))
	default:
		return k.text(buf, p, r)
	}
}

// text appends the value of a placeholder as people read it.
func (k *keyer) text(buf []byte, p part, r *http.Request) []byte {
	switch p.kind {
	case clientIP:
		return k.address(buf, clientOf(r))
	case remoteIP:
		return k.address(buf, hostOf(r.RemoteAddr))
	case header:
		// Of several the origin may take any: then it is as if there were none.
		if values := r.Header[p.text]; len(values) == 1 {
			buf = append(buf, values[0]...)
		}
		return buf
	case cookie:
		if cookies := r.CookiesNamed(p.text); len(cookies) == 1 {
			buf = append(buf, cookies[0].Value...)
		}
		return buf
	case path:
		// As the path matcher sees it, so that one path to a zone is one key.
		return append(buf, strings.ToLower(caddyhttp.CleanPath(r.URL.Path, true))...)
	case host:
		return append(buf, strings.ToLower(hostOf(r.Host))...)
	case method:
		return append(buf, r.Method...)
	case literal:
		return append(buf, p.text...)
	case other:
		if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			v, _ := repl.GetString(p.text)
			buf = append(buf, v...)
		}
	}
	return buf
}

// binary appends the bits of an address that count. IPv4 and IPv6 differ in
// their length, and from what is no address by a first byte.
func (k *keyer) binary(buf []byte, s string) []byte {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return append(append(buf, 0xff), s...)
	}
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return appendBits(append(buf, 4), b[:], k.v4)
	}
	b := a.As16()
	return appendBits(append(buf, 6), b[:], k.v6)
}

// appendBits appends the first bits of b, and zeros.
func appendBits(buf, b []byte, bits int) []byte {
	if n := bits / 8; bits >= 0 && n < len(b) {
		b[n] &= ^(0xff >> (bits % 8))
		clear(b[n+1:])
	}
	return append(buf, b...)
}

// address appends an address, cut down to the prefix that counts as one client.
// What is no address (a Unix socket's "@") is taken as it is.
func (k *keyer) address(buf []byte, s string) []byte {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return append(buf, s...)
	}
	return appendPrefix(buf, a, k.v4, k.v6)
}

func appendPrefix(buf []byte, a netip.Addr, v4, v6 int) []byte {
	a = a.Unmap().WithZone("")
	bits := v6
	if a.Is4() {
		bits = v4
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return a.AppendTo(buf)
	}
	if p.IsSingleIP() {
		return p.Addr().AppendTo(buf)
	}
	return p.AppendTo(buf)
}

// display appends a text of the key for people: the values, joined by "|". What
// a header or a cookie holds may be a secret and is shown as a hash.
func (k *keyer) display(buf []byte, r *http.Request) []byte {
	start, known := len(buf), !k.names
	show := func(p part) {
		if len(buf) > start {
			buf = append(buf, '|')
		}
		mark := len(buf)
		if buf = k.text(buf, p, r); len(buf) == mark {
			return
		}
		known = known || p.identity()
		buf = buf[:min(len(buf), mark+maxValue)] // what the key has of it
		if p.kind == header || p.kind == cookie || p.kind == other {
			sum := sha256.Sum256(buf[mark:])
			buf = hex.AppendEncode(append(buf[:mark], "sha256:"...), sum[:6])
		} else {
			buf = printable(buf, mark)
		}
	}
	for _, p := range k.parts {
		if p.kind != literal {
			show(p)
		}
	}
	if !known {
		show(part{kind: clientIP})
	}
	return buf
}

// maxDisplay bounds what is shown of one value, in bytes.
const maxDisplay = 128

// printable bounds buf[from:] and replaces what does not belong in a line of text.
func printable(buf []byte, from int) []byte {
	if len(buf) > from+maxDisplay {
		buf = append(buf[:from+maxDisplay], "..."...)
	}
	for i := from; i < len(buf); i++ {
		if buf[i] < ' ' || buf[i] > '~' {
			buf[i] = '?'
		}
	}
	return buf
}

// clientOf returns the client's address as Caddy determined it.
func clientOf(r *http.Request) string {
	s, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return s
}

// clientAddr returns the client's address, the zero address if there is none.
func clientAddr(r *http.Request) netip.Addr {
	a, err := netip.ParseAddr(clientOf(r))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// hostOf strips the port off an address.
func hostOf(s string) string {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i:], ']') < 0 {
		s = s[:i]
	}
	return strings.Trim(s, "[]")
}
