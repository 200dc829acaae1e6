package hub

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// framing is how the body of a request is sent.
type framing uint8

const (
	noBody framing = iota
	byLength
	chunked
)

func framingOf(r *http.Request) framing {
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		return noBody
	case r.ContentLength < 0 && r.Header["Upgrade"] != nil:
		return noBody // what comes is for after the switch
	case r.ContentLength > 0 && len(r.Trailer) == 0:
		return byLength
	default:
		return chunked
	}
}

// appendHead adds preface and head of a request to b. It refuses what could be read as
// something else than it is.
func appendHead(b []byte, p wire.Preface, r *http.Request, f framing) ([]byte, error) {
	b = p.Append(b)
	target := r.URL.RequestURI()
	if r.Method == http.MethodConnect {
		return nil, errors.New("the method CONNECT can't be sent through a tunnel")
	}
	if !validToken(r.Method) {
		return nil, fmt.Errorf("invalid method %q", r.Method)
	}
	if target == "" || strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return nil, errors.New("invalid target of the request")
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	if !httpguts.ValidHostHeader(host) {
		return nil, fmt.Errorf("invalid Host %q", host)
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	var err error
	if b, err = appendFields(b, r.Header, ofFraming); err != nil {
		return nil, err
	}
	switch {
	case f == byLength:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		b = append(b, "\r\n"...)
	case f == chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range r.Trailer {
			if !httpguts.ValidTrailerHeader(http.CanonicalHeaderKey(name)) || !httpguts.ValidHeaderFieldName(name) {
				return nil, fmt.Errorf("invalid trailer %q", name)
			}
			b = append(b, "Trailer: "...)
			b = append(b, name...)
			b = append(b, "\r\n"...)
		}
	case r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		b = append(b, "Content-Length: 0\r\n"...)
	}
	return append(b, "\r\n"...), nil
}

// ofFraming reports whether a field is written apart from the others, or is about this
// hop. The expectation of a client is met by the edge, which asks for the body when the
// agent has taken the request.
func ofFraming(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Expect":
		return true
	}
	return false
}

// appendFields adds the fields of a header for which skip is false.
func appendFields(b []byte, header http.Header, skip func(string) bool) ([]byte, error) {
	for name, values := range header {
		if skip(name) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, fmt.Errorf("invalid name of a header field %q", name)
		}
		if name == "User-Agent" && len(values) == 1 && values[0] == "" {
			continue // so says who wants none
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return nil, fmt.Errorf("invalid value of the header field %q", name)
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	return b, nil
}

func validToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !httpguts.IsTokenRune(c) })
}
