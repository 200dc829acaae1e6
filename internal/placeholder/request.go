// Package placeholder knows which placeholders a request has, so that a name that
// is always empty is an error when the config is loaded.
package placeholder

import (
	"fmt"
	"strconv"
	"strings"
)

// families are what the names of placeholders that depend on a request begin
// with, where the rest is open.
var families = []string{
	"http.request.header.", "http.request.cookie.", "http.request.uri.query.", "http.request.uri.path.", "http.request.host.labels.",
	"http.request.orig_uri.path.", "http.request.remote.host/", "http.vars.", "http.auth.user.", "http.regexp.", "http.matchers.",
}

// requests are the other placeholders of a request that tell clients or
// resources apart. The body is not among them: reading it is for the origin.
var requests = map[string]bool{
	"http.request.scheme": true, "http.request.proto": true, "http.request.port": true, "http.request.hostport": true,
	"http.request.host": true, "http.request.method": true, "http.request.remote.host": true,
	"http.request.local": true, "http.request.local.host": true, "http.request.local.port": true, "http.request.remote": true,
	"http.request.uri": true, "http.request.uri_escaped": true, "http.request.uri.path": true, "http.request.uri.path_escaped": true,
	"http.request.uri.path.file": true, "http.request.uri.path.dir": true, "http.request.uri.query": true, "http.request.uri.query_escaped": true,
	"http.request.uri.prefixed_query": true, "http.request.orig_method": true, "http.request.orig_uri": true,
	"http.request.orig_uri.path": true, "http.request.orig_uri.query": true, "http.request.orig_uri.prefixed_query": true,
	"http.request.tls.version": true, "http.request.tls.cipher_suite": true, "http.request.tls.proto": true, "http.request.tls.server_name": true,
	"http.request.tls.client.fingerprint": true, "http.request.tls.client.public_key": true, "http.request.tls.client.public_key_sha256": true,
	"http.request.tls.client.issuer": true, "http.request.tls.client.serial": true, "http.request.tls.client.subject": true,
}

// Check returns an error that says what is wanted unless name, without its braces,
// is that of a placeholder of requests, or begins with one of others.
func Check(name string, others ...string) error {
	if requests[name] {
		return nil
	}
	for _, prefix := range families {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && (prefix != "http.request.uri.path." || pathPart(rest)) {
			return nil
		}
	}
	for _, prefix := range others {
		if len(name) > len(prefix) && strings.HasPrefix(name, prefix) {
			return nil
		}
	}
	return fmt.Errorf("unknown placeholder {%s}: want one of the request, such as {http.vars.client_ip} or {http.request.header.X-Api-Key}", name)
}

// pathPart reports whether a placeholder of the path's parts exists: by number,
// or the name or extension of its file.
func pathPart(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil || s == "file.base" || s == "file.ext"
}
