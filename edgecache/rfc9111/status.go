package rfc9111

import "net/http"

// heuristicStatus says that the status is cacheable by default (RFC 9110 section
// 15.1).
func heuristicStatus(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone,
		http.StatusRequestURITooLong, http.StatusNotImplemented:
		return true
	}
	return false
}

// understoodStatus says that what RFC 9110 demands of caches about this status is
// met here (RFC 9111 section 5.2.2.3).
func understoodStatus(status int) bool {
	switch status {
	case 200, 201, 202, 203, 204, 205,
		300, 301, 302, 303, 305, 307, 308,
		400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 422, 424, 451,
		500, 501, 502, 503, 504, 505:
		return true
	}
	return false
}

// unstorableStatus says that a response of this status is never stored: it must
// not be (RFC 6585: 428, 429, 431, 511), it is not a final response, or it is
// about fields of one request or about one connection, which are not in the key.
func unstorableStatus(status int) bool {
	switch status {
	case http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusPreconditionFailed,
		http.StatusRequestedRangeNotSatisfiable, http.StatusExpectationFailed,
		http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusUpgradeRequired,
		http.StatusPreconditionRequired, http.StatusTooManyRequests,
		http.StatusRequestHeaderFieldsTooLarge, http.StatusNetworkAuthenticationRequired:
		return true
	}
	return status < 200 || status > 599
}
