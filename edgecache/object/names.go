package object

// literal is the code of a name that is not in knownNames and is spelled out.
const literal = 0

// Codes whose fields are looked up on every hit come first, where a search of
// the record finds them at once. Codes live in memory only and may be renumbered.
const (
	codeETag         = 1
	codeLastModified = 2
)

// knownNames are the response fields that a record stores as one byte: the
// index of the name.
var knownNames = [...]string{
	literal:          "",
	codeETag:         "Etag",
	codeLastModified: "Last-Modified",
	3:                "Content-Type",
	4:                "Content-Length",
	5:                "Content-Encoding",
	6:                "Cache-Control",
	7:                "Date",
	8:                "Expires",
	9:                "Vary",
	10:               "Age",
	11:               "Server",
	12:               "Content-Language",
	13:               "Content-Disposition",
	14:               "Content-Location",
	15:               "Content-Security-Policy",
	16:               "Content-Security-Policy-Report-Only",
	17:               "Strict-Transport-Security",
	18:               "X-Content-Type-Options",
	19:               "X-Frame-Options",
	20:               "X-Xss-Protection",
	21:               "Referrer-Policy",
	22:               "Permissions-Policy",
	23:               "Access-Control-Allow-Origin",
	24:               "Access-Control-Allow-Methods",
	25:               "Access-Control-Allow-Headers",
	26:               "Access-Control-Allow-Credentials",
	27:               "Access-Control-Expose-Headers",
	28:               "Access-Control-Max-Age",
	29:               "Accept-Ranges",
	30:               "Cdn-Cache-Control",
	31:               "Edge-Cache-Control",
	32:               "Surrogate-Control",
	33:               "Surrogate-Key",
	34:               "Cache-Tag",
	35:               "Cache-Groups",
	36:               "Cache-Group-Invalidation",
	37:               "Cache-Status",
	38:               "Location",
	39:               "Link",
	40:               "Set-Cookie",
	41:               "Pragma",
	42:               "Via",
	43:               "Warning",
	44:               "X-Powered-By",
	45:               "X-Cache",
	46:               "X-Request-Id",
	47:               "X-Robots-Tag",
	48:               "Alt-Svc",
	49:               "Server-Timing",
	50:               "Timing-Allow-Origin",
	51:               "Cross-Origin-Embedder-Policy",
	52:               "Cross-Origin-Opener-Policy",
	53:               "Cross-Origin-Resource-Policy",
	54:               "Origin-Agent-Cluster",
	55:               "Report-To",
	56:               "Reporting-Endpoints",
	57:               "Nel",
	58:               "Retry-After",
	59:               "Refresh",
	60:               "Allow",
	61:               "Trailer",
	62:               "Content-Digest",
	63:               "Repr-Digest",
	64:               "Accept-Ch",
	65:               "Critical-Ch",
	66:               "No-Vary-Search",
	67:               "Speculation-Rules",
	68:               "X-Dns-Prefetch-Control",
	69:               "X-Download-Options",
	70:               "X-Permitted-Cross-Domain-Policies",
	71:               "X-Ua-Compatible",
	72:               "X-Accel-Expires",
	73:               "Www-Authenticate",
}

var codes = func() map[string]uint8 {
	m := make(map[string]uint8, len(knownNames))
	for i, name := range knownNames[1:] {
		m[name] = uint8(i + 1)
	}
	return m
}()

// codeOf returns the code of a canonical name, or literal.
func codeOf(name string) uint8 { return codes[name] }
