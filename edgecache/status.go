package edgecache

import (
	"strconv"
	"unsafe"
)

// Result is what the cache did with a request: the closed set of values of the
// metric, the log field and the placeholder.
type Result uint8

// The results.
const (
	ResultPass         Result = iota // never met the cache
	ResultHit                        // fresh, from the store
	ResultStale                      // stale, from the store
	ResultRevalidated                // from the store after the origin confirmed it
	ResultMiss                       // fetched, and not stored
	ResultStore                      // fetched and stored
	ResultExpired                    // a stored response was replaced by a fetched one
	ResultError                      // the fetch failed
	ResultOnlyIfCached               // refused with 504: only-if-cached
	results
)

var resultNames = [results]string{"pass", "hit", "stale", "revalidated", "miss", "store", "expired", "error", "only-if-cached"}

// debugNames are the values of the X-Edge-Cache field.
var debugNames = [results]string{"BYPASS", "HIT", "HIT", "EXPIRED", "MISS", "STORE", "EXPIRED", "ERROR", "MISS"}

// String returns the stable name of the result.
func (r Result) String() string { return resultNames[r] }

// status is the outcome of one request, as told by Cache-Status (RFC 9211), the
// debug fields, the access log, the placeholders and the metrics.
type status struct {
	result    Result
	hasTTL    bool
	collapsed bool
	forward   string // "fwd" parameter; "" for a hit
	fwdStatus int    // status of the origin's reply when it is not the one sent
	ttl       int64  // seconds of freshness left; negative when stale
	age       int64  // seconds, -1 when the response is not from the store
	reuse     reason // why a stored response is used or not; none when there is none
	reason    reason // why the request passes or its response is not stored; else where the lifetime comes from
	front     *front // where the placeholders are, when a fetch runs for the request
}

// The fwd values of RFC 9211 section 2.2.
const (
	forwardBypass  = "bypass"
	forwardMethod  = "method"
	forwardMiss    = "uri-miss"
	forwardVary    = "vary-miss"
	forwardRequest = "request"
	forwardStale   = "stale"
	forwardPartial = "partial"
)

// detail returns the reason that is told beside the result: that of a "no", and of a stale
// response in place of a failure.
func (s *status) detail() reason {
	if s.source() != noReason || s.result == ResultRevalidated {
		return noReason
	}
	return s.reason
}

// source returns where the lifetime of what is being stored comes from.
func (s *status) source() reason {
	if s.result == ResultStore || s.result == ResultExpired {
		return s.reason
	}
	return noReason
}

// append writes the Cache-Status member of this cache.
func (s *status) append(buf []byte, name string) []byte {
	buf = append(buf, name...)
	if s.forward == "" {
		buf = append(buf, "; hit"...)
	} else {
		buf = append(buf, "; fwd="...)
		buf = append(buf, s.forward...)
		if s.fwdStatus != 0 {
			buf = append(buf, "; fwd-status="...)
			buf = strconv.AppendInt(buf, int64(s.fwdStatus), 10)
		}
		if s.result == ResultStore || s.result == ResultExpired {
			buf = append(buf, "; stored"...)
		}
		if s.collapsed {
			buf = append(buf, "; collapsed"...)
		}
	}
	if s.hasTTL {
		buf = append(buf, "; ttl="...)
		buf = strconv.AppendInt(buf, s.ttl, 10)
	}
	if why := s.detail(); why != noReason {
		buf = append(buf, "; detail="...)
		buf = append(buf, why.String()...)
	}
	return buf
}

// reply is the memory that one reply's header fields need, in one allocation.
type reply struct {
	status status
	fields [16]string
	own    [1]string // the Cache-Status field
	text   [128]byte
}

// placeholder resolves {http.edge_cache.*}.
func (p *reply) placeholder(key string) (any, bool) {
	switch key {
	case "http.edge_cache.status":
		return p.status.result.String(), true
	case "http.edge_cache.detail":
		return p.status.detail().String(), true
	case "http.edge_cache.reason":
		return p.status.reuse.String(), true
	case "http.edge_cache.source":
		return p.status.source().String(), true
	case "http.edge_cache.forward":
		return p.status.forward, true
	case "http.edge_cache.collapsed":
		return p.status.collapsed, true
	case "http.edge_cache.age":
		return max(p.status.age, 0), true
	case "http.edge_cache.ttl":
		return p.status.ttl, true
	}
	return nil, false
}

// stringOf turns bytes that are not changed any more into a string.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
