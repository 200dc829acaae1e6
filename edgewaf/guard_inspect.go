package edgewaf

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgewaf/target"
)

// inspect looks at the request and puts right what can be. It returns the first check
// that refuses it, or noCheck. The cheap checks and those that concern most attacks come
// first.
func (v *visit) inspect() check {
	g, r := v.guard, v.r
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 && (g.Chunked != ChunkedTrusted || !v.trusted()) && v.repairs(checkFraming) {
		v.close = true // whatever the response is
	}
	if g.policy != nil && v.level(checkAccess) != levelOff {
		v.warnOfAddress()
		if !g.policy.Decide(v.client) && v.fails(checkAccess) {
			return checkAccess
		}
	}
	for _, look := range [...]func(*visit) check{(*visit).inspectMethod, (*visit).inspectSizes, (*visit).inspectHost, (*visit).inspectTarget} {
		if c := look(v); c != noCheck {
			return c
		}
	}
	v.cleanConnection()
	if g.MaxBody > 0 && r.ContentLength > g.MaxBody && v.fails(checkBodySize) {
		return checkBodySize
	}
	v.watchBody()
	return noCheck
}

// inspectMethod looks at the method and at what the request is to turn into.
func (v *visit) inspectMethod() check {
	g, r := v.guard, v.r
	method := r.Method
	if extended(r) {
		method = http.MethodGet // as a WebSocket is in HTTP/1, and as proxies send it on
	}
	switch {
	case method == http.MethodConnect:
		if v.fails(checkConnect) {
			return checkConnect
		}
	case !g.methods[method] && !g.purgers.purges(v.r, v.client) && v.fails(checkMethod):
		return checkMethod
	}
	if r.ProtoMajor == 1 && wantsH2C(r.Header["Upgrade"]) && v.fails(checkH2C) {
		return checkH2C
	}
	return noCheck
}

// extended reports whether it is a CONNECT that asks for a WebSocket (RFC 8441, RFC 9220).
func extended(r *http.Request) bool {
	switch {
	case r.Method != http.MethodConnect:
	case r.ProtoMajor == 2:
		return r.Header.Get(":protocol") == "websocket"
	case r.ProtoMajor == 3:
		return r.Proto == "websocket"
	}
	return false
}

func wantsH2C(upgrade []string) bool {
	for _, value := range upgrade {
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "h2c") {
				return true
			}
		}
	}
	return false
}

// inspectSizes looks at the number and size of fields, and at the length of the target.
func (v *visit) inspectSizes() check {
	g, r := v.guard, v.r
	if int64(len(r.RequestURI)) > g.MaxURI && v.fails(checkURILength) {
		return checkURILength
	}
	count, size := 1, int64(len("Host")+len(r.Host)+4)
	for name, values := range r.Header {
		if v.id != "" && name == g.RequestIDHeader {
			continue // the id is ours
		}
		count += len(values)
		for _, value := range values {
			size += int64(len(name) + len(value) + 4)
		}
	}
	if count > g.MaxFields && v.fails(checkFieldCount) {
		return checkFieldCount
	}
	if size > g.MaxFieldSize && v.fails(checkFieldSize) {
		return checkFieldSize
	}
	return noCheck
}

// inspectHost looks at the host that the request is for.
func (v *visit) inspectHost() check {
	g, host := v.guard, v.r.Host
	if !target.ValidHost(host) {
		if v.fails(checkHost) {
			return checkHost
		}
	}
	if len(g.hosts) > 0 && !g.knows(target.HostName(host)) && v.fails(checkUnknownHost) {
		return checkUnknownHost
	}
	return noCheck
}

// knows reports whether a host is one of the configured ones.
func (g *Guard) knows(name string) bool {
	if g.hosts[name] {
		return true
	}
	_, parent, ok := strings.Cut(name, ".")
	return ok && g.hosts["*."+parent]
}

// inspectTarget checks the request target and brings it into its normal form. So with the
// one that was sent, where a handler in front (uri, handle_path) has made another of it:
// error routes and placeholders have that.
func (v *visit) inspectTarget() check {
	g, r := v.guard, v.r
	if r.Method == http.MethodConnect && r.URL.Path == "" {
		return noCheck // it has an authority and no path; refused or not was decided
	}
	original := v.original()
	known, sent := validForm(r.URL), original == nil || validForm(original)
	if (!known || !sent) && v.fails(checkTargetForm) {
		return checkTargetForm
	}
	// What an invalid one means is not known.
	if !known {
		return noCheck
	}
	if !sent {
		original = nil
	}
	normal, faults := normalize(r.URL, g.target)
	aside := normal
	if original != nil && *original != *r.URL {
		var more target.Fault
		aside, more = normalize(original, g.target)
		faults |= more
	}
	if faults != 0 {
		for _, t := range targetChecks {
			if faults.Has(t.fault) && v.fails(t.check) {
				return t.check
			}
		}
	}
	if normal == nil && aside == nil || !v.repairs(checkNormalization) {
		return noCheck
	}
	if normal != nil {
		*r.URL = *normal
		r.RequestURI = normal.RequestURI()
	}
	if original != nil && aside != nil {
		*original = *aside
		v.putAside(aside.RequestURI())
	}
	return noCheck
}

// putAside replaces the request target that Caddy has put aside. A cache behind has it in
// its key, and purges by it. The request is changed in place, since the placeholders hold
// on to this very one.
func (v *visit) putAside(target string) {
	ctx := v.r.Context()
	if original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		original.RequestURI = target
		*v.r = *v.r.WithContext(context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, original))
	}
}

// original returns the URL that Caddy has put aside and gives the error routes, or nil.
func (v *visit) original() *url.URL {
	if original, ok := v.r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != v.r.URL {
		return original.URL
	}
	return nil
}

// tidy puts right what there is to be of a request that was refused before it came to
// that: error routes may hand it to a proxy. It is counted as refused alone.
func (v *visit) tidy() {
	g, r := v.guard, v.r
	if v.level(checkNormalization) == levelEnforce {
		for _, u := range [...]*url.URL{r.URL, v.original()} {
			if u == nil || !validForm(u) {
				continue
			}
			if normal, _ := normalize(u, g.target); normal != nil {
				*u = *normal
				if u == r.URL {
					r.RequestURI = u.RequestURI()
				} else {
					v.putAside(u.RequestURI())
				}
			}
		}
	}
	if v.level(checkConnection) == levelEnforce {
		plan := g.hop.Plan(r.Header, r.ProtoMajor)
		plan.Apply(r.Header)
	}
}

// validForm reports whether a target is in origin form or in absolute form (RFC 9112
// section 3.2).
func validForm(u *url.URL) bool {
	if u.Opaque != "" || u.User != nil {
		return false
	}
	if u.Scheme != "" || u.Host != "" {
		return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Path == "" || u.Path[0] == '/')
	}
	return u.Path != "" && u.Path[0] == '/'
}

// normalize returns the normal form of a URL, nil if it is in that already, and what is
// wrong with it.
func normalize(u *url.URL, o target.Options) (*url.URL, target.Fault) {
	raw := u.RawPath
	if raw == "" {
		raw = u.EscapedPath()
	}
	path, faults := target.Path(raw, o)
	query, more := target.Query(u.RawQuery)
	faults |= more
	if path == "" {
		path = "/"
	}
	if path == raw && query == u.RawQuery && u.Host == "" && u.Scheme == "" {
		return nil, faults
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return nil, faults
	}
	normal := &url.URL{Path: decoded, RawQuery: query, ForceQuery: u.ForceQuery}
	if normal.EscapedPath() != path {
		normal.RawPath = path
	}
	return normal, faults
}

// cleanConnection takes out of Connection what does not belong there.
func (v *visit) cleanConnection() {
	plan := v.guard.hop.Plan(v.r.Header, v.r.ProtoMajor)
	if plan.Needed() && v.repairs(checkConnection) {
		plan.Apply(v.r.Header)
	}
}

// watchBody looks at the body while it is read.
func (v *visit) watchBody() {
	g, r := v.guard, v.r
	if r.Body == nil || r.Body == http.NoBody || extended(r) { // a WebSocket's stream has no end to wait for
		return
	}
	limit := int64(-1)
	if g.MaxBody > 0 && v.level(checkBodySize) != levelOff && r.ContentLength < 0 {
		limit = g.MaxBody
	}
	if limit < 0 && r.ProtoMajor != 1 {
		return
	}
	v.body = &guardBody{ReadCloser: r.Body, left: limit, limit: limit, enforce: v.level(checkBodySize) == levelEnforce}
	r.Body = v.body
}
