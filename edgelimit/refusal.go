package edgelimit

import (
	"fmt"
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// Refusal is what a client beyond its limit gets.
type Refusal struct {
	// Status is the status code. Default: 429.
	Status int `json:"status,omitempty"`

	// Body replaces the JSON body; placeholders such as
	// {http.edge_limit.retry_after} are replaced. Default:
	// {"error":"rate limit exceeded","retry_after":n}.
	Body string `json:"body,omitempty"`

	// Header are fields of the response, such as Content-Type. Placeholders
	// are replaced. Default: Content-Type: application/json.
	Header http.Header `json:"header,omitempty"`

	// Fields says when RateLimit and RateLimit-Policy
	// (draft-ietf-httpapi-ratelimit-headers) are sent: "refused", "always" or
	// "off". Default: refused.
	Fields string `json:"ratelimit_fields,omitempty"`

	// Respond says who writes a refusal: "direct" this handler, "error" the
	// server's error routes (handle_errors), "auto" the error routes if there
	// are any. Default: auto.
	Respond string `json:"respond,omitempty"`
}

// The values of Fields and Respond.
const (
	FieldsRefused = "refused"
	FieldsAlways  = "always"
	FieldsOff     = "off"

	RespondAuto   = "auto"
	RespondDirect = "direct"
	RespondError  = "error"
)

func (f *Refusal) provisionRefusal() error {
	if f.Status == 0 {
		f.Status = http.StatusTooManyRequests
	}
	if f.Status < 400 || f.Status > 599 {
		return fmt.Errorf("status: invalid value %d: want 400 to 599", f.Status)
	}
	for name, values := range f.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("header: invalid field name %q", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("header: %s: invalid value %q", name, v)
			}
		}
	}
	for _, o := range []struct {
		name    string
		value   *string
		allowed [3]string
	}{
		{"ratelimit_fields", &f.Fields, [3]string{FieldsRefused, FieldsAlways, FieldsOff}},
		{"respond", &f.Respond, [3]string{RespondAuto, RespondDirect, RespondError}},
	} {
		switch *o.value {
		case "":
			*o.value = o.allowed[0]
		case o.allowed[0], o.allowed[1], o.allowed[2]:
		default:
			return fmt.Errorf("%s: unknown value %q: want %s, %s or %s", o.name, *o.value, o.allowed[0], o.allowed[1], o.allowed[2])
		}
	}
	return nil
}
