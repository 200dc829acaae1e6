package edgewaf

import (
	"fmt"
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// SecurityHeaders are fields that tell browsers what not to do with a response. They are
// set when its header goes out. A field that the response has by then stays, unless
// Override is set; Server and X-Powered-By go in any case.
type SecurityHeaders struct {
	// Override replaces the fields that a response has.
	Override bool `json:"override,omitempty"`
	// FrameOptions is X-Frame-Options (RFC 7034): "DENY", "SAMEORIGIN", or "off" for no
	// field. Default: DENY.
	FrameOptions string `json:"frame_options,omitempty"`
	// ReferrerPolicy is Referrer-Policy, "off" for none. Default:
	// strict-origin-when-cross-origin.
	ReferrerPolicy string `json:"referrer_policy,omitempty"`
	// PermissionsPolicy is Permissions-Policy, "off" for none. Default: camera=(),
	// microphone=(), geolocation=().
	PermissionsPolicy string `json:"permissions_policy,omitempty"`
	// Server is the field Server, "off" for none. Default: edge.
	Server string `json:"server,omitempty"`

	fields []field
}

type field struct{ name, value string }

// headerOff stands for no field.
const headerOff = "off"

func (s *SecurityHeaders) provision() error {
	if s == nil {
		return nil
	}
	s.fields = []field{{"X-Content-Type-Options", "nosniff"}, {"X-Xss-Protection", "0"}}
	for _, o := range []struct {
		option, name, def string
		value             *string
	}{
		{"frame_options", "X-Frame-Options", "DENY", &s.FrameOptions},
		{"referrer_policy", "Referrer-Policy", "strict-origin-when-cross-origin", &s.ReferrerPolicy},
		{"permissions_policy", "Permissions-Policy", "camera=(), microphone=(), geolocation=()", &s.PermissionsPolicy},
		{"server", "Server", "edge", &s.Server},
	} {
		if *o.value == "" {
			*o.value = o.def
		}
		if !httpguts.ValidHeaderFieldValue(*o.value) {
			return fmt.Errorf("%s: invalid value %q", o.option, *o.value)
		}
		if *o.value != headerOff && o.name != "Server" {
			s.fields = append(s.fields, field{o.name, *o.value})
		}
	}
	switch s.FrameOptions {
	case "DENY", "SAMEORIGIN", headerOff:
	default:
		return fmt.Errorf("frame_options: unknown value %q: want DENY, SAMEORIGIN or off", s.FrameOptions)
	}
	return nil
}

// set sets the fields of a response.
func (s *SecurityHeaders) set(header http.Header) {
	if s == nil {
		return
	}
	for _, f := range s.fields {
		if _, ok := header[f.name]; s.Override || !ok {
			header[f.name] = []string{f.value}
		}
	}
	delete(header, "X-Powered-By")
	if s.Server == headerOff {
		delete(header, "Server")
	} else {
		header["Server"] = []string{s.Server}
	}
}

// fields sets the fields of a response that is about to be sent.
func (v *visit) fields(header http.Header) {
	v.guard.SecurityHeaders.set(header)
	if v.id != "" {
		header[v.guard.RequestIDHeader] = []string{v.id}
	}
	if v.close && v.r.ProtoMajor == 1 {
		header["Connection"] = []string{"close"}
	}
}
