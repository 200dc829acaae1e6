package edgecache

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// oracle is a slow and obvious reading of RFC 9111: it remembers every exchange
// with the origin and says what a cache may, or has to, answer with. It shares no
// code with package rfc9111.
type oracle struct{ entries []*entry }

// entry is one response of the origin, or a stored one that a 304 or a HEAD
// updated.
type entry struct {
	url           string
	request       http.Header
	header        http.Header
	status        int
	id            string // names the body
	asked, came   time.Time
	invalid       bool // an unsafe request came afterwards
	onlyPossible  bool // a cache may use it but need not have it
	authorization bool
	noStore       bool      // the request said so
	cookie        bool      // the content answers one
	ttl           int       // the operator's lifetime, seconds
	soft          time.Time // when it was softly purged
}

// control reads a Cache-Control field of the forms that the test produces.
func control(values []string) map[string]int {
	d := map[string]int{}
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if name == "" {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			n = -1
		}
		d[name] = n
	}
	return d
}

// directives are those that govern a shared cache: the targeted field alone when
// there is one (RFC 9213).
func (e *entry) directives() map[string]int {
	if v := e.header["Cdn-Cache-Control"]; len(v) > 0 {
		return control(v)
	}
	return control(e.header["Cache-Control"])
}

func has(d map[string]int, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { _, ok := d[n]; return ok })
}

// forbidden says why the response must never be reused, if it must not.
func (e *entry) forbidden() string {
	d := e.directives()
	switch {
	case has(d, "no-store"):
		return "no-store"
	case e.noStore:
		return "the request said no-store"
	case has(d, "private"):
		return "private"
	case e.authorization && !has(d, "public", "s-maxage", "must-revalidate"):
		return "it answers credentials"
	case len(e.header["Set-Cookie"]) > 0:
		return "it sets a cookie"
	case slices.Contains(e.header["Vary"], "*"):
		return "it varies on everything"
	}
	return ""
}

// lifetime returns the freshness lifetime in seconds, and whether it is explicit. It
// ends with a soft purge.
func (e *entry) lifetime() (seconds int, explicit bool) {
	seconds, explicit = e.given()
	if !explicit && e.status == http.StatusOK && (!e.cookie || has(e.directives(), "public", "s-maxage")) {
		seconds = e.ttl
	}
	if !e.soft.IsZero() {
		seconds = min(seconds, e.age(e.soft))
	}
	return seconds, explicit
}

// given is the lifetime that the origin gave.
func (e *entry) given() (seconds int, explicit bool) {
	d := e.directives()
	for _, name := range []string{"s-maxage", "max-age"} {
		if n, ok := d[name]; ok {
			return n, true
		}
	}
	if len(e.header["Cdn-Cache-Control"]) > 0 {
		return 0, false
	}
	if v := e.header.Get("Expires"); v != "" {
		expires, err := time.Parse(http.TimeFormat, v)
		if err != nil {
			return 0, true
		}
		return max(0, int(expires.Sub(e.date())/time.Second)), true
	}
	return 0, false
}

func (e *entry) date() time.Time {
	if date, err := time.Parse(http.TimeFormat, e.header.Get("Date")); err == nil {
		return date
	}
	return e.came
}

// age is current_age in seconds (section 4.2.3).
func (e *entry) age(now time.Time) int {
	value, _ := strconv.Atoi(e.header.Get("Age"))
	corrected := time.Duration(value)*time.Second + e.came.Sub(e.asked)
	apparent := max(0, e.came.Sub(e.date()))
	return int((max(apparent, corrected) + now.Sub(e.came)) / time.Second)
}

// refused says why a cache may not answer the request with the entry without
// asking the origin, or "". honour: the client's directives count.
func (e *entry) refused(request http.Header, now time.Time, honour bool) string {
	if why := e.forbidden(); why != "" {
		return why
	}
	d, asked := e.directives(), control(request["Cache-Control"])
	lifetime, _ := e.lifetime()
	age := e.age(now)
	fresh := lifetime - age
	switch {
	case e.invalid:
		return "it was invalidated"
	case has(d, "no-cache"):
		return "no-cache"
	case fresh <= 0 && has(d, "must-revalidate", "proxy-revalidate"):
		return "stale, must-revalidate"
	}
	if honour {
		switch {
		case has(asked, "no-cache"):
			return "the request says no-cache"
		case has(asked, "max-age") && age > asked["max-age"]:
			return "older than the request wants"
		case has(asked, "min-fresh") && fresh < asked["min-fresh"]:
			return "not fresh for as long as the request wants"
		}
	}
	if fresh > 0 || has(d, "stale-while-revalidate") && -fresh < d["stale-while-revalidate"] {
		return ""
	}
	if has(asked, "max-stale") && !has(d, "s-maxage") && -fresh <= asked["max-stale"] {
		return ""
	}
	return fmt.Sprintf("stale by %d s", -fresh)
}

// standsIn reports whether the entry may be served in place of an error.
func (e *entry) standsIn(now time.Time) bool {
	d := e.directives()
	lifetime, _ := e.lifetime()
	late := e.age(now) - lifetime
	return e.forbidden() == "" && !e.invalid && !has(d, "no-cache") &&
		(late < 0 || !has(d, "must-revalidate", "proxy-revalidate") && late < d["stale-if-error"])
}

// matches reports whether the entry is for the URL and selected by the request
// (section 4.1).
func (e *entry) matches(url string, request http.Header) bool {
	if e.url != url {
		return false
	}
	for _, line := range e.header["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); !slices.Equal(e.request[name], request[name]) {
				return false
			}
		}
	}
	return true
}

// candidates returns the entries that a request may be answered with, the
// newest first.
func (o *oracle) candidates(url string, request http.Header) (found []*entry) {
	for _, e := range slices.Backward(o.entries) {
		if e.matches(url, request) {
			found = append(found, e)
		}
	}
	return found
}

// exchange notes what the origin was asked and answered.
func (o *oracle) exchange(e *entry, method string, own bool) {
	if method == http.MethodGet && e.status != http.StatusNotModified {
		o.entries = append(o.entries, e)
		return
	}
	found := o.candidates(e.url, e.request)
	for _, old := range found {
		// What a HEAD says may also end the use of a stored response.
		old.onlyPossible = old.onlyPossible || method == http.MethodHead
	}
	for _, old := range found {
		if old.id != e.id || e.header.Get("Etag") != old.header.Get("Etag") {
			continue
		}
		updated := *old
		updated.header = maps.Clone(old.header)
		delete(updated.header, "Age")
		maps.Copy(updated.header, e.header)
		delete(updated.header, "Set-Cookie") // not taken over from a confirmation
		updated.asked, updated.came, updated.soft = e.asked, e.came, time.Time{}
		updated.authorization, updated.noStore = e.authorization, e.noStore
		updated.onlyPossible = method == http.MethodHead || !own
		o.entries = append(o.entries, &updated)
		return
	}
}

// invalidate notes the success of an unsafe request.
func (o *oracle) invalidate(url string) {
	for _, e := range o.entries {
		if e.url == url {
			e.invalid = true
		}
	}
}

// softPurge notes that everything is stale from now on.
func (o *oracle) softPurge(now time.Time) {
	for _, e := range o.entries {
		if e.soft.IsZero() {
			e.soft = now
		}
	}
}

// mustHit returns the entry that the request has to be answered with: the last
// word of the origin about it, explicitly fresh.
func (o *oracle) mustHit(url string, request http.Header, now time.Time) *entry {
	found := o.candidates(url, request)
	if len(found) == 0 || len(request["Cache-Control"]) > 0 {
		return nil
	}
	e := found[0]
	lifetime, explicit := e.lifetime()
	if e.onlyPossible || !explicit || e.age(now) >= lifetime || e.refused(request, now, true) != "" {
		return nil
	}
	return e
}
