package edgecache

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// model drives the handler through a random history and asks the oracle about
// every answer.
type model struct {
	rig    *rig
	honour bool
	ttl    int // seconds; 0: off
	oracle oracle

	// The origin: a script and a version per URL, and the bodies it ever had.
	scripts  map[string]script
	versions map[string]int
	bodies   map[string]string
	own      bool // the validators that the origin gets are the cache's own
	asked    int  // exchanges
	running  atomic.Int32
	last     *entry
}

// script is how the origin answers for a URL.
type script struct {
	Status             int
	Control, Targeted  string
	Expires, Age, Skew int // seconds; Expires: 0 none
	Etag, SetCookie    bool
	Delay              time.Duration
}

// vary is what each URL varies on, always.
var vary = map[string]string{"/plain": "", "/one": "X-A", "/two": "X-A, Accept-Language", "/all": "*"}

func scripts() *rapid.Generator[script] {
	return rapid.Custom(func(rt *rapid.T) script {
		controls := []string{
			"max-age=60", "max-age=60", "max-age=10, stale-while-revalidate=50", "max-age=10, stale-if-error=1000", "s-maxage=30, max-age=5",
			"public, max-age=40", "no-cache, max-age=60", "no-store", "private, max-age=60", "max-age=10, must-revalidate",
			"max-age=0", "", "s-maxage=10, stale-while-revalidate=20", "max-age=20, proxy-revalidate, stale-if-error=100",
		}
		return script{
			Status:    rapid.SampledFrom([]int{200, 200, 200, 200, 404, 500, 503}).Draw(rt, "status"),
			Control:   rapid.SampledFrom(controls).Draw(rt, "control"),
			Targeted:  rapid.SampledFrom([]string{"", "", "", "", "max-age=25", "no-store"}).Draw(rt, "targeted"),
			Expires:   rapid.SampledFrom([]int{0, 0, 0, 50, -10}).Draw(rt, "expires"),
			Age:       rapid.SampledFrom([]int{0, 0, 0, 7}).Draw(rt, "age"),
			Skew:      rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(rt, "skew"),
			Etag:      rapid.Bool().Draw(rt, "etag"),
			SetCookie: rapid.IntRange(0, 9).Draw(rt, "set-cookie") == 0,
			Delay:     rapid.SampledFrom([]time.Duration{0, 0, 0, 2 * time.Second}).Draw(rt, "delay"),
		}
	})
}

// serve is the origin.
func (m *model) serve(w http.ResponseWriter, r *http.Request) {
	m.running.Add(1)
	defer m.running.Add(-1)
	asked := time.Now()
	url := r.URL.Path
	s := m.scripts[url]
	time.Sleep(s.Delay)
	now := time.Now()
	m.asked++
	if r.Method == http.MethodPost {
		m.versions[url]++
		w.WriteHeader(s.Status)
		return
	}
	h := w.Header()
	body := fmt.Sprintf("%s version %d status %d", url, m.versions[url], s.Status)
	for name := range strings.SplitSeq(vary[url], ", ") {
		body += fmt.Sprintf(" %q", r.Header[name])
	}
	if _, ok := m.bodies[body]; !ok {
		m.bodies[body] = strconv.Itoa(len(m.bodies) + 1)
	}
	id := m.bodies[body]
	body = strings.Repeat(id+" ", 10) + body
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set("X-Id", id)
	set("Date", now.Add(-time.Duration(s.Skew)*time.Second).UTC().Format(http.TimeFormat))
	set("Cache-Control", s.Control)
	set("CDN-Cache-Control", s.Targeted)
	set("Vary", vary[url])
	if s.Expires != 0 {
		set("Expires", now.Add(time.Duration(s.Expires)*time.Second).UTC().Format(http.TimeFormat))
	}
	if s.Age != 0 {
		set("Age", strconv.Itoa(s.Age))
	}
	if s.Etag || r.Method == http.MethodHead { // a HEAD without validators says nothing of the body
		set("ETag", strconv.Quote(id))
	}
	if s.SetCookie {
		set("Set-Cookie", "a=b")
	}
	e := &entry{
		url: url, request: r.Header.Clone(), status: s.Status, id: id, asked: asked, came: now,
		// A stale one may be kept instead of an error, and what was asked for in
		// part, past the flights, is not stored.
		onlyPossible:  s.Status >= 500 || !m.own || r.Header.Get("Range") != "",
		authorization: r.Header.Get("Authorization") != "", noStore: has(control(r.Header["Cache-Control"]), "no-store"),
		cookie: r.Header.Get("Cookie") != "", ttl: m.ttl,
	}
	if s.Status == http.StatusOK && h.Get("Etag") != "" && slices.Contains(r.Header["If-None-Match"], strconv.Quote(id)) {
		e.status = http.StatusNotModified
	}
	e.header = h.Clone()
	m.last = e
	m.oracle.exchange(e, r.Method, m.own)
	w.WriteHeader(e.status)
	if r.Method != http.MethodHead && e.status != http.StatusNotModified {
		_, _ = fmt.Fprint(w, body)
	}
}

// request draws a request and judges its answer.
func (m *model) request(rt *rapid.T) {
	method := rapid.SampledFrom([]string{"GET", "GET", "GET", "GET", "HEAD"}).Draw(rt, "method")
	url := rapid.SampledFrom(slices.Sorted(maps.Keys(vary))).Draw(rt, "url")
	r := httptest.NewRequest(method, "http://example.com"+url, nil)
	field := func(name string, values ...string) {
		if v := rapid.SampledFrom(values).Draw(rt, name); v != "" {
			r.Header.Set(name, v)
		}
	}
	field("X-A", "", "1", "2")
	field("Accept-Language", "", "en")
	field("Authorization", "", "", "", "Basic x")
	field("Cookie", "", "", "c=d")
	field("Cache-Control", "", "", "", "", "no-cache", "max-age=5", "max-stale=20", "min-fresh=15", "no-store", "only-if-cached")
	switch rapid.IntRange(0, 5).Draw(rt, "kind") {
	case 0:
		r.Header.Set("If-None-Match", strconv.Quote(strconv.Itoa(rapid.IntRange(1, 9).Draw(rt, "tag"))))
	case 1:
		r.Header.Set("Range", "bytes=0-3")
	}
	client := r.Header.Clone()
	want := m.oracle.mustHit(url, client, time.Now())
	known := len(m.oracle.entries)
	m.own = client.Get("If-None-Match") == ""
	before := m.asked
	got := m.rig.do(r)
	now := time.Now()
	synctest.Wait()
	for m.running.Load() > 0 { // a refresh in the background
		time.Sleep(time.Second)
		synctest.Wait()
	}
	m.own = true

	if got.aborted {
		rt.Fatalf("the connection was aborted")
	}
	status := got.Header().Get("Cache-Status")
	hit := strings.Contains(status, "; hit")
	switch {
	case hit:
		m.judgeHit(rt, method, url, client, got, known, now)
	case got.Code == http.StatusGatewayTimeout && has(control(client["Cache-Control"]), "only-if-cached"):
		if m.asked != before {
			rt.Fatalf("only-if-cached, and the origin was asked")
		}
	case m.asked == before:
		rt.Fatalf("%s %s: %d %q, but the origin was not asked", method, url, got.Code, status)
	default:
		m.judgeForwarded(rt, method, client, got, now)
	}
	if want != nil && !hit {
		rt.Fatalf("%s %s %v: the stored response %s is fresh, but: %s", method, url, client, want.id, status)
	}
}

// judgeHit: without the origin, the answer has to be one of its responses that
// the oracle accepts, and no newer one may have taken its place.
func (m *model) judgeHit(rt *rapid.T, method, url string, client http.Header, got got, known int, now time.Time) {
	id := got.Header().Get("X-Id")
	age := got.Header().Get("Age")
	var why []string
	for _, e := range slices.Backward(m.oracle.entries[:known]) {
		if !e.matches(url, client) {
			continue
		}
		refused := e.refused(client, now, m.honour)
		switch {
		case e.id != id && refused == "" && !e.onlyPossible:
			rt.Fatalf("%s %s %v: answered with %s, which %s has replaced; %v", method, url, client, id, e.id, why)
		case e.id != id:
		case refused != "":
			why = append(why, refused)
		case strconv.Itoa(e.age(now)) != age:
			why = append(why, fmt.Sprintf("its age is %d", e.age(now)))
		default:
			m.judgeContent(rt, method, client, got, e)
			return
		}
	}
	rt.Fatalf("%s %s %v: answered with %s of age %s without asking the origin: %v", method, url, client, id, age, why)
}

// judgeForwarded: after an exchange the answer is the origin's, or a stored one
// where an error allows that.
func (m *model) judgeForwarded(rt *rapid.T, method string, client http.Header, got got, now time.Time) {
	if got.Header().Get("X-Id") == m.last.id {
		m.judgeContent(rt, method, client, got, m.last)
		return
	}
	for _, e := range m.oracle.candidates(m.last.url, client) {
		if e.id == got.Header().Get("X-Id") && m.last.status >= 500 && e.standsIn(now) {
			m.judgeContent(rt, method, client, got, e)
			return
		}
	}
	rt.Fatalf("%v: the origin answered %d %s, the client got %d %s", client, m.last.status, m.last.id, got.Code, got.Header().Get("X-Id"))
}

// judgeContent compares status and body with what the request asks of a response.
func (m *model) judgeContent(rt *rapid.T, method string, client http.Header, got got, e *entry) {
	whole := ""
	for text, id := range m.bodies {
		if id == e.id {
			whole = strings.Repeat(id+" ", 10) + text
		}
	}
	full := e.status
	if full == http.StatusNotModified {
		full = http.StatusOK
	}
	body := got.Body.String()
	switch {
	case got.Code == http.StatusNotModified:
		if !slices.Contains(client["If-None-Match"], got.Header().Get("Etag")) || body != "" {
			rt.Fatalf("304 with tag %s to If-None-Match %v", got.Header().Get("Etag"), client["If-None-Match"])
		}
	case got.Code == http.StatusPartialContent:
		if client.Get("Range") == "" || method != http.MethodGet || body != whole[:4] || full != http.StatusOK {
			rt.Fatalf("206 %q to Range %v", body, client["Range"])
		}
	case method == http.MethodHead:
		if got.Code != full || body != "" {
			rt.Fatalf("HEAD gives %d %q, want %d", got.Code, body, full)
		}
	case got.Code != full || body != whole:
		rt.Fatalf("got %d %q, want %d %q", got.Code, body, full, whole)
	}
	if e.status == http.StatusOK && slices.Contains(client["If-None-Match"], e.header.Get("Etag")) && got.Code != http.StatusNotModified {
		rt.Fatalf("%d to a condition that does not hold", got.Code)
	}
}

// unsafe sends a POST.
func (m *model) unsafe(rt *rapid.T) {
	url := rapid.SampledFrom(slices.Sorted(maps.Keys(vary))).Draw(rt, "url")
	got := m.rig.send(http.MethodPost, "http://example.com"+url)
	if got.Code != m.scripts[url].Status {
		rt.Fatalf("POST gives %d", got.Code)
	}
	if got.Code < 400 {
		m.oracle.invalidate(url)
	}
}

// TestModel compares the handler with the oracle over random histories: what is
// served from the store is allowed, is the origin's, has the right age; what was
// invalidated is not served; and what is fresh is.
func TestModel(t *testing.T) {
	checkInBubble(t, func(rt *rapid.T) {
		m := &model{
			scripts: map[string]script{}, versions: map[string]int{}, bodies: map[string]string{}, own: true,
			honour: rapid.Bool().Draw(rt, "honour"), ttl: rapid.SampledFrom([]int{0, 40}).Draw(rt, "ttl"),
		}
		control := "collapse"
		if m.honour {
			control = "honour"
		}
		rig, cleanup := newRig(rt, fmt.Sprintf(`{"client_control": %q, "ttl": "%ds"}`, control, m.ttl), m.serve)
		defer cleanup()
		m.rig = rig
		for url := range vary {
			m.scripts[url] = script{Status: http.StatusOK, Control: "max-age=60", Etag: true}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"request": m.request,
			"again":   m.request,
			"unsafe":  m.unsafe,
			"soft purge": func(*rapid.T) {
				m.rig.shared.purge(purge.Purge{Kind: purge.All, Soft: true})
				m.rig.shared.sweep()
				m.oracle.softPurge(time.Now())
			},
			"wait": func(rt *rapid.T) {
				time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 5, 12, 30, 61, 200}).Draw(rt, "seconds")) * time.Second)
			},
			"script": func(rt *rapid.T) {
				m.scripts[rapid.SampledFrom(slices.Sorted(maps.Keys(vary))).Draw(rt, "url")] = scripts().Draw(rt, "script")
			},
			"version": func(rt *rapid.T) {
				m.versions[rapid.SampledFrom(slices.Sorted(maps.Keys(vary))).Draw(rt, "url")]++
			},
		})
	})
}
