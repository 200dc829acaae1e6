// Package reqinfo is a small record that travels with a request. Features
// publish facts in it, such as the backend that was chosen, and a handler that
// runs the rest of the chain with a request of its own copies them back.
package reqinfo

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// varKey is the record's place in Caddy's table of request variables.
const varKey = "edge.reqinfo"

// Background is the key of requests that no client waits for, such as those by
// which a cache refreshes what it stores. Its value is the feature that sent the
// request.
const Background = "background"

// Refused is the key of requests that a feature turned away for a reason that
// has nothing to do with the origin's answer. Its value is the feature.
const Refused = "refused"

// Info is a list of named strings in the order of their first Set. The zero
// value is empty and ready to use. Like Caddy's variables it may be used on the
// goroutine of its request only.
type Info struct {
	fields []field
}

type field struct{ key, value string }

// From returns the record of r and creates it when there is none. Without
// Caddy's table of variables in the request's context the record is a new one
// for each call.
func From(r *http.Request) *Info {
	if info := Peek(r); info != nil {
		return info
	}
	info := new(Info)
	caddyhttp.SetVar(r.Context(), varKey, info)
	return info
}

// Peek returns the record of r, or nil when nobody has published anything.
func Peek(r *http.Request) *Info {
	info, _ := caddyhttp.GetVar(r.Context(), varKey).(*Info)
	return info
}

// Attach makes info the record of r, for a request that was made on behalf of
// another and must not share its record.
func Attach(r *http.Request, info *Info) {
	caddyhttp.SetVar(r.Context(), varKey, info)
}

// Set stores value under key and replaces an earlier one.
func (i *Info) Set(key, value string) {
	for n := range i.fields {
		if i.fields[n].key == key {
			i.fields[n].value = value
			return
		}
	}
	i.fields = append(i.fields, field{key, value})
}

// Get returns the value of key and whether it was set. A nil record has none.
func (i *Info) Get(key string) (string, bool) {
	if i == nil {
		return "", false
	}
	for _, f := range i.fields {
		if f.key == key {
			return f.value, true
		}
	}
	return "", false
}

// CopyTo sets all fields of i in dst and leaves dst's other fields alone. A nil
// record copies nothing.
func (i *Info) CopyTo(dst *Info) {
	i.Range(func(key, value string) bool {
		dst.Set(key, value)
		return true
	})
}

// Range calls f for each field until f returns false. A nil record has none.
func (i *Info) Range(f func(key, value string) bool) {
	if i == nil {
		return
	}
	for _, field := range i.fields {
		if !f(field.key, field.value) {
			return
		}
	}
}
