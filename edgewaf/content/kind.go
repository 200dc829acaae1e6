package content

import (
	"mime"
	"strings"
)

// Kind is a form of content, as far as it matters for looking into it.
type Kind int

// Forms of content.
const (
	Other     Kind = iota // that nothing looks into
	Form                  // application/x-www-form-urlencoded
	Multipart             // multipart/form-data
	JSON                  // application/json, application/…+json
	XML                   // application/xml, text/xml, …+xml
	Text                  // text/plain, or without a type
	Stream                // that has no end to wait for: gRPC, Connect
)

// textual are types that are text though they are not called so.
var textual = map[string]bool{
	"application/x-ndjson": true, "application/yaml": true, "application/x-yaml": true, "application/graphql": true, "application/javascript": true,
	"application/sql": true, "application/x-sh": true,
}

// KindOf returns the form that a Content-Type stands for. What does not parse counts as what
// it begins with, as it does for the engine.
func KindOf(contentType string) Kind {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		t, _, _ = strings.Cut(contentType, ";")
		t = strings.ToLower(strings.TrimSpace(t))
	}
	switch {
	case t == "":
		return Text
	case t == "application/grpc", strings.HasPrefix(t, "application/grpc+"), strings.HasPrefix(t, "application/connect+"):
		return Stream
	case strings.HasPrefix(t, "application/x-www-form-urlencoded"):
		return Form
	case strings.HasPrefix(t, "multipart/form-data"):
		return Multipart
	case strings.HasPrefix(t, "application/json"), strings.HasSuffix(t, "+json"), t == "text/json":
		return JSON
	case strings.HasSuffix(t, "/xml"), strings.HasSuffix(t, "+xml"):
		return XML
	case strings.HasPrefix(t, "text/"), textual[t]:
		return Text
	}
	return Other
}

// Boundary returns the boundary of multipart content, "" if there is none.
func Boundary(contentType string) string {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return params["boundary"]
}
