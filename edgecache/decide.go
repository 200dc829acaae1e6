package edgecache

import (
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// verdict is what is done with a response, known at its header.
type verdict struct {
	store     bool
	shared    bool   // others than the one who asked may use it
	reason    reason // why not stored, or where the lifetime of what is stored comes from
	freshness rfc9111.Freshness
	header    http.Header // the fields that are stored
	vary      []string
	length    int64 // announced, -1 when unknown
	tags      []string
	onlyThis  bool // not stored because of this very request: what is stored may stay
}

// ownField is this cache's targeted field (RFC 9213): it is for nobody else.
const ownField = "Edge-Cache-Control"

// decide says what to do with a response to req. It does not keep hd.
func (h *Handler) decide(policy *rfc9111.Options, req *rfc9111.Request, t *target, code int, hd http.Header, asked, now time.Time) verdict {
	d := policy.Storable(req, &rfc9111.Response{Status: code, Header: hd, RequestTime: asked, ResponseTime: now})
	return h.judge(d, policy, req, t, hd, now)
}

// judge adds the handler's own conditions to what the policy decided.
func (h *Handler) judge(d rfc9111.StoreDecision, policy *rfc9111.Options, req *rfc9111.Request, t *target, hd http.Header, now time.Time) verdict {
	v := verdict{length: -1, freshness: d.Freshness, reason: reason(d.Reason)}
	badLength := false
	if cl, ok := hd["Content-Length"]; ok {
		n, err := strconv.ParseInt(cl[0], 10, 64)
		if badLength = err != nil || n < 0 || len(cl) > 1; !badLength {
			v.length = n
		}
	}
	v.onlyThis = d.OnlyThis(req)
	if !d.Store {
		return v
	}
	vary, _ := rfc9111.ParseVary(hd["Vary"])
	for i, name := range vary {
		vary[i] = http.CanonicalHeaderKey(name)
	}
	if coding := hd.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		// An origin that negotiates without saying so must not have its
		// coded response shown to a client that can't read it.
		vary = union(vary, []string{"Accept-Encoding"})
	}
	var fits bool
	v.tags, fits = h.tagsOf(hd, t)
	switch {
	case !fits:
		v.reason = reasonTagLimit
	case badLength:
		v.reason = reasonBadLength
	case v.length > h.maxObjectSize:
		v.reason = reasonTooLarge
	case len(hd["Trailer"]) > 0:
		v.reason = reasonTrailer
	case len(vary) > maxVaryNames:
		v.reason = reasonVaryLimit
	case slices.ContainsFunc(vary, func(name string) bool { return h.unseen(name, t) }):
		v.reason = reasonStar
	case h.armor && t.mismatches(hd.Get("Content-Type")):
		v.reason = reasonMismatch
	case hasPrefixFold(hd.Get("Content-Type"), eventStream) || caddyhttp.IsIncremental(hd):
		v.reason = reasonStream
	case h.Key.IgnoreScheme && t.changesScheme(hd.Get("Location")):
		v.reason = reasonScheme
	default:
		v.store = true
	}
	if !v.store {
		return v
	}
	v.vary = vary
	directives, _ := rfc9111.ParseResponse(hd, policy.Targets)
	v.header = rfc9111.StoredHeader(hd, directives)
	if len(v.header["Date"]) == 0 {
		v.header["Date"] = []string{now.UTC().Format(http.TimeFormat)}
	}
	delete(v.header, "Content-Length")
	v.shared = !v.freshness.Flags.Has(rfc9111.FlagNoCache) &&
		(v.freshness.FreshFor(now) > 0 || v.freshness.StaleWhileRevalidate > 0)
	return v
}

// hasPrefixFold reports whether s begins with prefix in any case.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// changesScheme reports whether a location is on the same host with the other
// scheme: given to who comes from there, it would lead in a circle.
func (t *target) changesScheme(location string) bool {
	u, err := url.Parse(location)
	if location == "" || err != nil || u.Scheme == "" || strings.EqualFold(u.Scheme, t.scheme) {
		return false
	}
	own := url.URL{Host: t.host}
	return strings.EqualFold(u.Hostname(), own.Hostname())
}

// staticTypes are the extensions that the deception armor knows, with the media
// types, or the beginnings of them, that belong to each.
var staticTypes = map[string][]string{
	".css":  {"text/css"},
	".js":   {"text/javascript", "application/javascript", "application/x-javascript"},
	".mjs":  {"text/javascript", "application/javascript"},
	".png":  {"image/"},
	".jpg":  {"image/"},
	".jpeg": {"image/"},
	".gif":  {"image/"},
	".webp": {"image/"},
	".avif": {"image/"},
	".svg":  {"image/"},
	".ico":  {"image/"},
	".bmp":  {"image/"},
	".woff": {"font/", "application/font", "application/x-font", "application/octet-stream"},
	".ttf":  {"font/", "application/font", "application/x-font", "application/octet-stream"},
	".otf":  {"font/", "application/font", "application/x-font", "application/octet-stream"},
	".eot":  {"font/", "application/vnd.ms-fontobject", "application/octet-stream"},
	".mp3":  {"audio/"},
	".mp4":  {"video/", "audio/"},
	".webm": {"video/", "audio/"},
	".pdf":  {"application/pdf"},
	".zip":  {"application/zip", "application/x-zip", "application/octet-stream"},
	".txt":  {"text/plain"},
	".csv":  {"text/csv", "text/plain"},
}

func init() {
	staticTypes[".woff2"] = staticTypes[".woff"]
}

// mismatches reports whether the path that the client asked for, or the one that
// leaves for the origin, looks like a static file of another type.
func (t *target) mismatches(contentType string) bool {
	original, _, _ := strings.Cut(t.requestURI(), "?")
	return mismatched(t.path, contentType) || mismatched(original, contentType)
}

// mismatched reports whether a path that looks like a static file got a response
// of another type: the sign of web cache deception, where a private page is
// asked for under the name of a public file.
func mismatched(urlPath, contentType string) bool {
	if decoded, err := url.PathUnescape(urlPath); err == nil {
		urlPath = decoded
	}
	want, ok := staticTypes[strings.ToLower(path.Ext(urlPath))]
	if !ok {
		return false
	}
	if contentType == "" {
		return false
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return true
	}
	return !slices.ContainsFunc(want, func(w string) bool {
		return media == w || strings.HasPrefix(media, w) && (strings.HasSuffix(w, "/") || strings.HasPrefix(w, "application/"))
	})
}
