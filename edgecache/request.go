package edgecache

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/glob"
	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// unkeyedFields are request fields that frameworks and servers are known to act
// upon although they are in no cache's key: the raw material of cache
// poisoning. X-Forwarded-* is covered by its prefix.
var unkeyedFields = map[string]bool{
	"Forwarded": true, "X-Host": true, "X-Original-Url": true, "X-Rewrite-Url": true, "X-Original-Host": true,
	"X-Http-Method-Override": true, "X-Http-Method": true, "X-Method-Override": true,
	"X-Forwarded": true, "X-Url-Scheme": true, "Front-End-Https": true, "X-Scheme": true, "X-Ssl": true,
	"X-Http-Host-Override": true, "X-Http-Destinationurl": true, "X-Proxy-Url": true, "X-Original-Uri": true,
	"X-Override-Url": true, "X-Real-Host": true, "X-Original-Forwarded-For": true, "X-Client-Host": true,
	"X-Server-Name": true, "X-Backend-Host": true, "X-Custom-Ip-Authorization": true, "X-Originating-Url": true,
	"X-Wap-Profile": true, "Base-Url": true, "Http-Url": true, "Proxy-Host": true, "Request-Uri": true,
	"X-Amz-Website-Redirect-Location": true, "X-Timer": true, "X-Edge-Cache": true, "Max-Forwards": true,
	"X-Accel-Redirect": true, "X-Sendfile": true, "X-Middleware-Prefetch": true, "X-Middleware-Subrequest": true,
	"X-Nextjs-Data": true, "X-Invoke-Path": true, "X-Invoke-Status": true, "X-Invoke-Error": true,
	"X-Now-Route-Matches": true, "X-Matched-Path": true, "X-Request-Uri": true, "X-Rewrite-Uri": true, "Destination": true,
	"X-Http-Status-Code-Override": true, "Fastly-Host": true, "Fastly-Client-Ip": true, "X-Real-Ip": true,
	"True-Client-Ip": true, "Client-Ip": true, "Cf-Connecting-Ip": true, "X-Client-Ip": true, "X-Cluster-Client-Ip": true,
	"X-Remote-Ip": true, "X-Remote-Addr": true, "X-Originating-Ip": true,
}

// unkeyed reports whether a field is one of the well-known unkeyed ones.
func unkeyed(name string) bool {
	return unkeyedFields[name] || strings.HasPrefix(name, "X-Forwarded-") || strings.Contains(name, "_")
}

// passedForTrusted reports whether the field is passed on from a trusted proxy,
// and an origin may build its response from it: the host, a path prefix, the user
// that the proxy has authenticated. X-Forwarded-For only tells who asks.
func passedForTrusted(name string) bool {
	return strings.HasPrefix(name, "X-Forwarded-") && name != "X-Forwarded-For"
}

// passed reports whether a field is forwarded although it is unkeyed.
func passed(name string, fromTrusted bool) bool {
	return fromTrusted && strings.HasPrefix(name, "X-Forwarded-")
}

// hopByHop are the connection's own fields: a fetch is a request of the cache's
// own and starts without them (RFC 9110 section 7.6.1).
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Expect",
}

// conditionals are the fields by which a client asks for less than the whole
// response; a shared fetch asks for the whole.
var conditionals = []string{
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
}

// alwaysAllowed are the fields that strict mode forwards beside the listed ones.
var alwaysAllowed = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cookie", "User-Agent",
	"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Traceparent", "Tracestate",
	"If-None-Match", "If-Modified-Since", "Cache-Control",
}

// scrub changes the fields of a request that will be forwarded for a cacheable
// target: what is not in the key does not reach the origin.
func (h *Handler) scrub(hd http.Header, fromTrusted bool) {
	for _, name := range hopByHop {
		delete(hd, name)
	}
	if h.headers == HeadersStrip {
		for name := range hd {
			if unkeyed(name) && !passed(name, fromTrusted) {
				delete(hd, name)
			}
		}
	}
	if h.strict != nil {
		for name := range hd {
			if !slices.Contains(h.strict, name) {
				delete(hd, name)
			}
		}
	}
}

// passReason returns why a GET or HEAD request never meets the cache, or noReason.
func (h *Handler) passReason(r *http.Request, now time.Time) reason {
	hd := r.Header
	switch {
	case r.Host == "":
		return reasonHost
	case hasContent(r):
		return reasonContent
	case len(hd["Upgrade"]) > 0:
		return reasonUpgrade
	case len(hd["Connection"]) > 0 && nominates(hd["Connection"]):
		return reasonConnection
	case !h.devUntil.IsZero() && now.Before(h.devUntil):
		return reasonDevelopment
	case len(h.BypassCookies) > 0 && h.bypassesCookie(r):
		return reasonCookie
	case asksToBypass(r):
		return reasonAsked
	case wantsEvents(hd["Accept"]):
		return reasonStream
	}
	if _, ok := hd["Incremental"]; ok && caddyhttp.IsIncremental(hd) {
		return reasonIncremental
	}
	if ct := hd["Content-Type"]; len(ct) > 0 && strings.HasPrefix(ct[0], "application/grpc") {
		return reasonGRPC
	}
	return noReason
}

// asksToBypass reports whether a handler in front wants the cache to keep out of the
// request.
func asksToBypass(r *http.Request) bool {
	_, ok := reqinfo.Peek(r).Get(reqinfo.BypassCache)
	return ok
}

// eventStream is the media type of server-sent events.
const eventStream = "text/event-stream"

// wantsEvents reports whether Accept names server-sent events, be it among others: what
// comes may be a stream that never ends.
func wantsEvents(accept []string) bool {
	for _, line := range accept {
		if strings.IndexByte(line, '-') < 0 {
			continue // as most lines of browsers
		}
		for member := range strings.SplitSeq(line, ",") {
			media, _, _ := strings.Cut(member, ";")
			if strings.EqualFold(strings.Trim(media, " \t"), eventStream) {
				return true
			}
		}
	}
	return false
}

// nominates reports whether Connection names fields beyond those that a fetch
// starts without. The next hop must not get them (RFC 9110 section 7.6.1), but
// without them a shared fetch could be made to lack what others rely on.
func nominates(connection []string) bool {
	for _, line := range connection {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.Trim(name, " \t")
			own := name == "" || strings.EqualFold(name, "close") ||
				slices.ContainsFunc(hopByHop, func(h string) bool { return strings.EqualFold(h, name) })
			if !own {
				return true
			}
		}
	}
	return false
}

func (h *Handler) bypassesCookie(r *http.Request) bool {
	for name := range cookiesOf(r.Header) {
		for _, p := range h.BypassCookies {
			if glob.Match(p, name) {
				return true
			}
		}
	}
	return false
}

// normalize brings the fields that negotiate into canonical forms, in place, so
// that equal wishes select one variant and reach the origin alike.
func (h *Handler) normalize(hd http.Header) {
	if ae, ok := hd["Accept-Encoding"]; !ok || len(ae) != 1 || !canonicalCodings[ae[0]] {
		hd["Accept-Encoding"] = []string{codingValues[codingsOf(ae)]}
	}
	if len(h.Languages) > 0 {
		hd["Accept-Language"] = []string{h.language(hd["Accept-Language"])}
	}
}

// parseRequest splits off what the policy needs of a request.
func parseRequest(r *http.Request) rfc9111.Request {
	return rfc9111.Request{Method: r.Method, Header: r.Header, Directives: rfc9111.ParseRequest(r.Header)}
}
