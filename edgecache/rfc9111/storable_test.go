package rfc9111

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func httpDate(offset time.Duration) string { return now.Add(offset).Format(http.TimeFormat) }

// header makes a header of "Name: value" lines.
func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func get(lines ...string) *Request {
	h := header(lines...)
	return &Request{Method: http.MethodGet, Header: h, Directives: ParseRequest(h)}
}

func answer(status int, lines ...string) *Response {
	return &Response{Status: status, Header: header(lines...), RequestTime: now, ResponseTime: now}
}

func TestStorable(t *testing.T) {
	date, modified := "Date: "+httpDate(0), "Last-Modified: "+httpDate(-10000*time.Second)
	tests := []struct {
		name     string
		o        Options
		req      *Request
		resp     *Response
		store    bool
		reason   Reason
		lifetime time.Duration
		flags    Flags
	}{
		{name: "nothing", resp: answer(200), reason: ReasonNoFreshness},
		{name: "max-age", resp: answer(200, "Cache-Control: max-age=60"), store: true, reason: ReasonExplicit, lifetime: time.Minute},
		{name: "s-maxage over max-age and Expires", resp: answer(200, "Cache-Control: max-age=0, s-maxage=60", "Expires: "+httpDate(-time.Minute)),
			store: true, reason: ReasonExplicit, lifetime: time.Minute, flags: FlagMustRevalidate | FlagSharedMaxAge},
		{name: "max-age over Expires", resp: answer(200, date, "Cache-Control: max-age=60", "Expires: 0"), store: true, reason: ReasonExplicit, lifetime: time.Minute},
		{name: "Expires", resp: answer(200, date, "Expires: "+httpDate(time.Hour)), store: true, reason: ReasonExplicit, lifetime: time.Hour},
		{name: "Expires without Date", resp: answer(200, "Date: foo", "Expires: "+httpDate(time.Hour)), store: true, reason: ReasonExplicit, lifetime: time.Hour},
		{name: "Expires before Date, both fast", resp: answer(200, "Date: "+httpDate(400*time.Second), "Expires: "+httpDate(300*time.Second)), reason: ReasonExpired},
		{name: "Expires equal to Date", resp: answer(200, date, "Expires: "+httpDate(0)), reason: ReasonExpired},
		{name: "Expires not a date", resp: answer(200, date, "Expires: 0"), reason: ReasonUnparsable},
		{name: "two different Expires", resp: answer(200, date, "Expires: "+httpDate(time.Hour), "Expires: "+httpDate(time.Minute)), reason: ReasonUnparsable},
		{name: "unparsable with validator", resp: answer(200, date, "Expires: 0", `ETag: "a"`), store: true, reason: ReasonUnparsable, flags: FlagMustRevalidate},
		{name: "unparsable max-age", resp: answer(200, "Cache-Control: max-age=x", "Expires: "+httpDate(time.Hour)), reason: ReasonUnparsable},
		{name: "unparsable gets no operator's window", o: Options{StaleIfError: time.Hour}, resp: answer(200, "Cache-Control: max-age=x"), reason: ReasonUnparsable},
		{name: "older than its lifetime", resp: answer(200, date, "Cache-Control: max-age=3600", "Age: 7200"), reason: ReasonExpired},
		{name: "older, with validator", resp: answer(200, date, "Cache-Control: max-age=3600", "Age: 7200", `ETag: "a"`), store: true, reason: ReasonExplicit, lifetime: time.Hour},
		{name: "older, useful on errors", resp: answer(200, date, "Cache-Control: max-age=3600, stale-if-error=86400", "Age: 7200"),
			store: true, reason: ReasonExplicit, lifetime: time.Hour, flags: FlagStaleIfError},
		{name: "max-age=0 with a window", resp: answer(200, "Cache-Control: max-age=0, stale-while-revalidate=10"),
			store: true, reason: ReasonExplicit, flags: FlagStaleWhileRevalidate},
		{name: "max-age=0 with validator", resp: answer(200, "Cache-Control: max-age=0", modified), store: true, reason: ReasonExplicit},
		{name: "max-age=0 with validator in answer to a cookie", req: get("Cookie: a=b"), resp: answer(200, "Cache-Control: max-age=0", modified), reason: ReasonCookie},
		{name: "public, max-age=0 in answer to a cookie", req: get("Cookie: a=b"), resp: answer(200, "Cache-Control: public, max-age=0", modified), store: true, reason: ReasonExplicit, flags: FlagCookie},
		{name: "fresh in answer to a cookie", req: get("Cookie: a=b"), resp: answer(200, "Cache-Control: max-age=60"), store: true, reason: ReasonExplicit, lifetime: time.Minute, flags: FlagCookie},
		{name: "capped", o: Options{MaxTTL: time.Second}, resp: answer(200, "Cache-Control: max-age=60"), store: true, reason: ReasonExplicit, lifetime: time.Second},
		{name: "immutable", resp: answer(200, "Cache-Control: max-age=60, immutable"), store: true, reason: ReasonExplicit, lifetime: time.Minute, flags: FlagImmutable},
		{name: "proxy-revalidate", resp: answer(200, "Cache-Control: max-age=60, proxy-revalidate"), store: true, reason: ReasonExplicit, lifetime: time.Minute, flags: FlagMustRevalidate},

		{name: "validator only", resp: answer(200, `ETag: "a"`), store: true, reason: ReasonValidatorOnly, flags: FlagValidatorOnly},
		{name: "date only", resp: answer(200, modified), store: true, reason: ReasonValidatorOnly, flags: FlagValidatorOnly},
		{name: "validator only, no date", resp: answer(200, "Last-Modified: foo"), reason: ReasonNoFreshness},
		{name: "validator only, 404", resp: answer(404, `ETag: "a"`), reason: ReasonNoFreshness},
		{name: "validator only, cookie", req: get("Cookie: a=b"), resp: answer(200, `ETag: "a"`, "Cache-Control: public"), reason: ReasonCookie},
		{name: "validator only, Set-Cookie", o: Options{StoreSetCookie: true}, resp: answer(200, `ETag: "a"`, "Set-Cookie: a=b"), reason: ReasonNoFreshness},
		{name: "operator's window does not make a lifetime", o: Options{StaleWhileRevalidate: time.Hour}, resp: answer(200), reason: ReasonNoFreshness},
		{name: "no-cache", resp: answer(200, "Cache-Control: max-age=60, no-cache"), reason: ReasonNoCache},
		{name: "no-cache, validator", resp: answer(200, "Cache-Control: no-cache", `ETag: "a"`), store: true, reason: ReasonNoCache, flags: FlagNoCache},
		{name: "no-cache, validator, lifetime", resp: answer(200, "Cache-Control: no-cache, max-age=60", `ETag: "a"`), store: true, reason: ReasonNoCache, lifetime: time.Minute, flags: FlagNoCache},
		{name: "no-cache, validator, cookie", req: get("Cookie: a=b"), resp: answer(200, "Cache-Control: no-cache", `ETag: "a"`), reason: ReasonCookie},
		{name: "qualified no-cache", resp: answer(200, `Cache-Control: no-cache="a", max-age=60`), store: true, reason: ReasonExplicit, lifetime: time.Minute},

		{name: "no-store", resp: answer(200, "Cache-Control: no-store, max-age=60"), reason: ReasonNoStore},
		{name: "private", resp: answer(200, "Cache-Control: private, max-age=60"), reason: ReasonPrivate},
		{name: "qualified private", resp: answer(200, `Cache-Control: private="a", max-age=60`), store: true, reason: ReasonExplicit, lifetime: time.Minute},
		{name: "request no-store", req: get("Cache-Control: no-store"), resp: answer(200, "Cache-Control: max-age=60"), reason: ReasonRequestNoStore},
		{name: "request no-store ignored", o: Options{ClientControl: Ignore}, req: get("Cache-Control: no-store"), resp: answer(200, "Cache-Control: max-age=60"), store: true, reason: ReasonExplicit, lifetime: time.Minute},
		{name: "must-understand lifts no-store", resp: answer(200, "Cache-Control: max-age=60, no-store, must-understand"), store: true, reason: ReasonExplicit, lifetime: time.Minute},
		{name: "must-understand, unknown status", resp: answer(599, "Cache-Control: max-age=60, no-store, must-understand"), reason: ReasonMustUnderstand},
		{name: "Vary star", resp: answer(200, "Cache-Control: max-age=60", "Vary: a, *"), reason: ReasonVaryStar},
		{name: "Set-Cookie", resp: answer(200, "Cache-Control: max-age=60, public", "Set-Cookie: a=b"), reason: ReasonSetCookie},
		{name: "Set-Cookie allowed", o: Options{StoreSetCookie: true}, resp: answer(200, "Cache-Control: max-age=60", "Set-Cookie: a=b"), store: true, reason: ReasonExplicit, lifetime: time.Minute},
		{name: "Set-Cookie left out", resp: answer(200, `Cache-Control: max-age=60, no-cache="Set-Cookie"`, "Set-Cookie: a=b"), store: true, reason: ReasonExplicit, lifetime: time.Minute},

		{name: "Authorization", req: get("Authorization: x"), resp: answer(200, "Cache-Control: max-age=60, proxy-revalidate"), reason: ReasonAuthorization},
		{name: "Authorization, validator", req: get("Authorization: x"), resp: answer(200, `ETag: "a"`), reason: ReasonAuthorization},
		{name: "Authorization, public", req: get("Authorization: x"), resp: answer(200, "Cache-Control: max-age=60, public"), store: true, reason: ReasonExplicit, lifetime: time.Minute, flags: FlagAuthorization},
		{name: "Authorization, must-revalidate", req: get("Authorization: x"), resp: answer(200, "Cache-Control: max-age=60, must-revalidate"), store: true, reason: ReasonExplicit, lifetime: time.Minute, flags: FlagMustRevalidate | FlagAuthorization},
		{name: "Authorization, s-maxage", req: get("Authorization: x"), resp: answer(200, "Cache-Control: s-maxage=60"), store: true, reason: ReasonExplicit, lifetime: time.Minute, flags: FlagMustRevalidate | FlagSharedMaxAge | FlagAuthorization},
		{name: "Authorization, targeted max-age", o: Options{Targets: []string{"CDN-Cache-Control"}}, req: get("Authorization: x"),
			resp: answer(200, "CDN-Cache-Control: max-age=60", "Cache-Control: public"), reason: ReasonAuthorization},
		{name: "Authorization, targeted public", o: Options{Targets: []string{"CDN-Cache-Control"}}, req: get("Authorization: x"),
			resp: answer(200, "CDN-Cache-Control: max-age=60, public"), store: true, reason: ReasonExplicit, lifetime: time.Minute, flags: FlagAuthorization},

		{name: "targeted over no-store", o: Options{Targets: []string{"CDN-Cache-Control"}}, resp: answer(200, "CDN-Cache-Control: max-age=60", "Cache-Control: no-store, private"),
			store: true, reason: ReasonExplicit, lifetime: time.Minute},
		{name: "targeted hides Expires", o: Options{Targets: []string{"CDN-Cache-Control"}}, resp: answer(200, date, "CDN-Cache-Control: foo", "Cache-Control: max-age=60", "Expires: "+httpDate(time.Hour)), reason: ReasonNoFreshness},
		{name: "targeted private", o: Options{Targets: []string{"CDN-Cache-Control"}}, resp: answer(200, "CDN-Cache-Control: private", "Cache-Control: max-age=60"), reason: ReasonPrivate},
		{name: "not a target", resp: answer(200, "CDN-Cache-Control: max-age=60", "Cache-Control: no-store"), reason: ReasonNoStore},

		{name: "HEAD", req: &Request{Method: "HEAD", Directives: NoDirectives()}, resp: answer(200, "Cache-Control: max-age=60"), reason: ReasonMethod},
		{name: "206", resp: answer(206, "Cache-Control: max-age=60"), reason: ReasonPartial},
		{name: "304", resp: answer(304, "Cache-Control: max-age=60"), reason: ReasonPartial},
		{name: "101", resp: answer(101, "Cache-Control: max-age=60"), reason: ReasonStatus},
		{name: "600", resp: answer(600, "Cache-Control: max-age=60"), reason: ReasonStatus},
		{name: "416", resp: answer(416, "Cache-Control: max-age=60"), reason: ReasonStatus},
		{name: "431", resp: answer(431, "Cache-Control: max-age=60"), reason: ReasonStatus},
		{name: "500 without lifetime", resp: answer(500), reason: ReasonNoFreshness},

		{name: "heuristic", o: Options{Heuristic: 0.1}, resp: answer(200, date, modified), store: true, reason: ReasonHeuristic, lifetime: 1000 * time.Second},
		{name: "heuristic, capped", o: Options{Heuristic: 0.1, HeuristicMax: time.Minute}, resp: answer(200, date, modified), store: true, reason: ReasonHeuristic, lifetime: time.Minute},
		{name: "heuristic, huge", o: Options{Heuristic: 1e300}, resp: answer(200, date, modified), store: true, reason: ReasonHeuristic, lifetime: MaxDelta},
		{name: "heuristic, modified in the future", o: Options{Heuristic: 0.1}, resp: answer(200, date, "Last-Modified: "+httpDate(time.Hour)), store: true, reason: ReasonValidatorOnly, flags: FlagValidatorOnly},
		{name: "heuristic does not beat the origin", o: Options{Heuristic: 0.1}, resp: answer(200, date, modified, "Cache-Control: max-age=1"), store: true, reason: ReasonExplicit, lifetime: time.Second},
		{name: "heuristic, 599", o: Options{Heuristic: 0.1}, resp: answer(599, date, modified), reason: ReasonNoFreshness},
		{name: "heuristic, 599 public", o: Options{Heuristic: 0.1}, resp: answer(599, date, modified, "Cache-Control: public"), store: true, reason: ReasonHeuristic, lifetime: 1000 * time.Second},
		{name: "heuristic, 404", o: Options{Heuristic: 0.1}, resp: answer(404, date, modified), reason: ReasonNoFreshness},
		{name: "heuristic, 404, negative", o: Options{Heuristic: 0.1, NegativeTTL: map[int]time.Duration{404: time.Second}}, resp: answer(404, date, modified),
			store: true, reason: ReasonNegativeTTL, lifetime: time.Second},
		{name: "ttl", o: Options{TTL: time.Minute}, resp: answer(200), store: true, reason: ReasonDefaultTTL, lifetime: time.Minute},
		{name: "ttl after heuristic", o: Options{TTL: time.Minute, Heuristic: 0.1}, resp: answer(200, date, modified), store: true, reason: ReasonHeuristic, lifetime: 1000 * time.Second},
		{name: "ttl, 404", o: Options{TTL: time.Minute}, resp: answer(404), reason: ReasonNoFreshness},
		{name: "ttl, 302", o: Options{TTL: time.Minute}, resp: answer(302), reason: ReasonNoFreshness},
		{name: "ttl, max-age=0", o: Options{TTL: time.Minute}, resp: answer(200, "Cache-Control: max-age=0"), reason: ReasonExpired},
		{name: "negative", o: Options{NegativeTTL: map[int]time.Duration{404: time.Second}}, resp: answer(404), store: true, reason: ReasonNegativeTTL, lifetime: time.Second},
		{name: "negative, explicit", o: Options{NegativeTTL: map[int]time.Duration{404: time.Second}}, resp: answer(404, "Cache-Control: max-age=60"), store: true, reason: ReasonExplicit, lifetime: time.Minute},
		{name: "ttl, cookie", o: Options{TTL: time.Minute}, req: get("Cookie: a=b"), resp: answer(200, `ETag: "a"`), reason: ReasonCookie},
		{name: "ttl, cookie, public", o: Options{TTL: time.Minute}, req: get("Cookie: a=b"), resp: answer(200, "Cache-Control: public"),
			store: true, reason: ReasonDefaultTTL, lifetime: time.Minute, flags: FlagCookie},
		{name: "ttl, harmless cookie", o: Options{TTL: time.Minute, CookiesHarmless: true}, req: get("Cookie: a=b"), resp: answer(200),
			store: true, reason: ReasonDefaultTTL, lifetime: time.Minute, flags: FlagCookie},
		{name: "validator only, harmless cookie", o: Options{CookiesHarmless: true}, req: get("Cookie: a=b"), resp: answer(200, `ETag: "a"`), reason: ReasonCookie},
		{name: "heuristic, cookie", o: Options{Heuristic: 0.1}, req: get("Cookie: a=b"), resp: answer(200, date, modified), reason: ReasonCookie},
		{name: "negative, cookie", o: Options{NegativeTTL: map[int]time.Duration{404: time.Second}}, req: get("Cookie: a=b"), resp: answer(404), reason: ReasonCookie},
		{name: "override, cookie", o: Options{Override: time.Hour}, req: get("Cookie: a=b"), resp: answer(200), store: true, reason: ReasonOverride, lifetime: time.Hour, flags: FlagCookie},
		{name: "override", o: Options{Override: time.Hour}, resp: answer(200, "Cache-Control: max-age=0"), store: true, reason: ReasonOverride, lifetime: time.Hour},
		{name: "override, unparsable", o: Options{Override: time.Hour}, resp: answer(200, "Expires: 0"), store: true, reason: ReasonOverride, lifetime: time.Hour},
		{name: "override, no word", o: Options{Override: time.Hour}, resp: answer(200), store: true, reason: ReasonOverride, lifetime: time.Hour},
		{name: "override, 302", o: Options{Override: time.Hour}, resp: answer(302), reason: ReasonNoFreshness},
		{name: "override, error", o: Options{Override: time.Hour, OverrideAll: true}, resp: answer(500, "Cache-Control: max-age=1"), store: true, reason: ReasonExplicit, lifetime: time.Second},
		{name: "override, private", o: Options{Override: time.Hour}, resp: answer(200, "Cache-Control: private"), reason: ReasonPrivate},
		{name: "override, no-store", o: Options{Override: time.Hour}, resp: answer(200, "Cache-Control: no-store"), reason: ReasonNoStore},
		{name: "override, no-cache", o: Options{Override: time.Hour}, resp: answer(200, "Cache-Control: no-cache"), reason: ReasonNoCache},
		{name: "override all", o: Options{Override: time.Hour, OverrideAll: true}, resp: answer(302, "Cache-Control: private, no-store, no-cache, must-revalidate"),
			store: true, reason: ReasonOverride, lifetime: time.Hour, flags: FlagMustRevalidate},
		{name: "override all without lifetime", o: Options{OverrideAll: true}, resp: answer(200, "Cache-Control: no-store"), reason: ReasonNoStore},
		{name: "override all, private error", o: Options{Override: time.Hour, OverrideAll: true}, resp: answer(404, "Cache-Control: private, max-age=9"), reason: ReasonPrivate},
		{name: "override all, Set-Cookie", o: Options{Override: time.Hour, OverrideAll: true}, resp: answer(200, "Set-Cookie: a=b"), reason: ReasonSetCookie},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := tt.req
			if req == nil {
				req = get()
			}
			got := tt.o.Storable(req, tt.resp)
			require.Equal(t, tt.reason, got.Reason, got.Reason.String())
			require.Equal(t, tt.store, got.Store)
			require.Equal(t, tt.resp.Status >= 400, got.ErrorStatus)
			if tt.store {
				require.Equal(t, tt.lifetime.Milliseconds(), got.Freshness.Lifetime)
				require.Equal(t, tt.flags, got.Freshness.Flags)
			} else {
				require.Zero(t, got.Freshness)
			}
		})
	}
}

func TestStorableStatus(t *testing.T) {
	o := &Options{Heuristic: 0.1, TTL: time.Minute}
	byDefault := map[int]bool{200: true, 203: true, 204: true, 300: true, 301: true, 308: true}
	never := map[int]bool{206: true, 304: true, 407: true, 408: true, 412: true, 416: true, 417: true, 421: true, 425: true,
		426: true, 428: true, 429: true, 431: true, 511: true}
	for status := 200; status < 600; status++ {
		explicit := o.Storable(get(), answer(status, "Cache-Control: max-age=60"))
		require.Equal(t, !never[status], explicit.Store, status)
		heuristic := o.Storable(get(), answer(status, "Date: "+httpDate(0), "Last-Modified: "+httpDate(-time.Hour)))
		require.Equal(t, byDefault[status], heuristic.Store, status)
	}
}

// TestOnlyThis: which refusals say nothing about what is stored for others.
func TestOnlyThis(t *testing.T) {
	const cookie, authorization = "Cookie: a=b", "Authorization: x"
	for _, tt := range []struct {
		req  *Request
		resp *Response
		want bool
	}{
		{get("Cache-Control: no-store"), answer(200, "Cache-Control: max-age=60"), true},
		{get(authorization), answer(200, "Cache-Control: max-age=60"), true},
		{get(authorization), answer(404), true},
		{get(cookie), answer(200, `ETag: "a"`), true},
		{get(cookie), answer(200, "Cache-Control: private"), true},
		{get(cookie), answer(200, "Cache-Control: no-store"), true},
		{get(cookie), answer(200, "Cache-Control: no-cache"), true},
		{get(cookie), answer(200, "Cache-Control: max-age=60", "Set-Cookie: a=b"), true},
		{get(authorization), answer(200, "Cache-Control: public, max-age=60", "Set-Cookie: a=b"), true},
		{get(cookie), answer(302), true},
		{get(cookie), answer(200, "Expires: "+httpDate(-time.Hour)), true},
		{get(cookie), answer(404), false},
		{get(cookie), answer(200, "Cache-Control: max-age=60", "Vary: *"), false},
		{get(cookie), answer(200, "Cache-Control: max-age=60"), false},
		{get(), answer(200, "Cache-Control: private"), false},
		{get(), answer(200, "Cache-Control: no-store"), false},
		{get(), answer(200, "Cache-Control: no-cache"), false},
		{get(), answer(200, "Set-Cookie: a=b"), false},
		{get(), answer(302), false},
		{get(), answer(200, "Cache-Control: no-cache", `ETag: "a"`), false},
	} {
		d := new(Options).Storable(tt.req, tt.resp)
		require.Equal(t, tt.want, d.OnlyThis(tt.req), "%v %d %v: %v", tt.req.Header, tt.resp.Status, tt.resp.Header, d.Reason)
	}
}

func TestInitialAge(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		delay time.Duration
		want  time.Duration
	}{
		{"no fields", nil, 0, 0},
		{"delay", nil, 1500 * time.Millisecond, 1500 * time.Millisecond},
		{"Age", []string{"Age: 30"}, 0, 30 * time.Second},
		{"Age and delay", []string{"Age: 30", "Date: " + httpDate(0)}, 2 * time.Second, 32 * time.Second},
		{"apparent age", []string{"Date: " + httpDate(-2*time.Hour)}, time.Second, 2 * time.Hour},
		{"Date in the future", []string{"Date: " + httpDate(time.Hour), "Age: 5"}, 0, 5 * time.Second},
		{"not a number", []string{"Age: abc"}, 0, 0},
		{"negative", []string{"Age: -7200"}, 0, 0},
		{"float", []string{"Age: 7200.0"}, 0, 0},
		{"parameter", []string{"Age: 7200;foo=bar"}, 0, 0},
		{"empty", []string{"Age: "}, 0, 0},
		{"2^31-1", []string{"Age: 2147483647"}, 0, MaxDelta - time.Second},
		{"2^31", []string{"Age: 2147483648"}, 0, MaxDelta},
		{"huge", []string{"Age: 99999999999999999999"}, time.Minute, MaxDelta},
		{"first member", []string{"Age: 7200, 0"}, 0, 2 * time.Hour},
		{"first member zero", []string{"Age: 0, 7200"}, 0, 0},
		{"first line", []string{"Age: 7200", "Age: 0"}, 0, 2 * time.Hour},
		{"first line zero", []string{"Age: 0", "Age: 7200"}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := answer(200, tt.lines...)
			resp.RequestTime = resp.ResponseTime.Add(-tt.delay)
			require.Equal(t, tt.want, resp.age())
		})
	}
	resp := answer(200, "Date: "+httpDate(0))
	resp.ResponseTime = now.Add(999 * time.Millisecond)
	resp.RequestTime = time.Time{}
	require.Zero(t, resp.age(), "the fraction of a second that Date does not have is not age")
	resp.RequestTime = now.Add(time.Hour)
	require.Zero(t, resp.age(), "a clock that goes back is no delay")
}

func TestAddingProhibitionsNeverStores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOf(directiveGen).Draw(t, "list")
		req, o := randomRequest(t), randomOptions(t)
		lines := append(responseLines(t), "Cache-Control: "+strings.Join(list, ","))
		status := rapid.SampledFrom([]int{200, 204, 206, 301, 302, 404, 429, 500, 599}).Draw(t, "status")
		before := o.Storable(req, answer(status, lines...))
		for _, extra := range []string{"no-store", "private"} {
			after := o.Storable(req, answer(status, append(lines, "Cache-Control: "+extra)...))
			require.True(t, before.Store || !after.Store, "%s made it storable", extra)
			require.LessOrEqual(t, after.Freshness.Lifetime, max(before.Freshness.Lifetime, 0))
		}
	})
}

// TestGuessesAreForEverybody: what is fresh by a guess is a success or has a
// lifetime for its status, and was not made for a cookie, unless somebody said so.
func TestGuessesAreForEverybody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req, o := randomRequest(t), randomOptions(t)
		status := rapid.SampledFrom([]int{200, 301, 404, 405, 410, 414, 500, 501, 599}).Draw(t, "status")
		list := rapid.SliceOf(directiveGen).Draw(t, "list")
		resp := answer(status, append(responseLines(t), "Cache-Control: "+strings.Join(list, ","))...)
		d := o.Storable(req, resp)
		if d.Store && (d.Reason == ReasonHeuristic || d.Reason == ReasonDefaultTTL) {
			directives, _ := ParseResponse(resp.Header, nil)
			require.True(t, status < 400 || directives.Public && d.Reason == ReasonHeuristic)
		}
		if d.Store && guessed(d.Reason) && hasField(req.Header, "Cookie") && !o.CookiesHarmless {
			directives, _ := ParseResponse(resp.Header, nil)
			require.True(t, directives.Public || directives.SMaxAge != Absent)
		}
	})
}

func TestAgeNeverMakesFresher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := randomOptions(t)
		a := rapid.Int64Range(0, 1<<33).Draw(t, "age")
		b := rapid.Int64Range(a, 1<<33).Draw(t, "older")
		lines := append(responseLines(t), "Cache-Control: max-age=1000, stale-if-error=1000000000")
		judge := func(age int64) Freshness {
			resp := answer(200, lines...)
			resp.Header.Set("Age", strconv.FormatInt(age, 10))
			return o.Storable(get(), resp).Freshness
		}
		younger, older := judge(a), judge(b)
		later := now.Add(time.Duration(rapid.Int64Range(-1000, 1<<40).Draw(t, "later")) * time.Microsecond)
		if younger.Lifetime > 0 && older.Lifetime > 0 {
			require.LessOrEqual(t, older.FreshFor(later), younger.FreshFor(later))
			require.GreaterOrEqual(t, older.Age(later), older.Age(now))
		}
	})
}

func randomOptions(t *rapid.T) *Options {
	return &Options{
		Heuristic:            rapid.SampledFrom([]float64{0, 0.1}).Draw(t, "heuristic"),
		TTL:                  rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "ttl"),
		NegativeTTL:          rapid.SampledFrom([]map[int]time.Duration{nil, {404: time.Minute, 500: time.Minute}}).Draw(t, "negative"),
		CookiesHarmless:      rapid.Bool().Draw(t, "harmless"),
		Override:             rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "override"),
		StaleWhileRevalidate: rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "swr"),
		StaleIfError:         rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "sie"),
		StoreSetCookie:       rapid.Bool().Draw(t, "set-cookie"),
	}
}

func randomRequest(t *rapid.T) *Request {
	return get(rapid.SliceOfDistinct(rapid.SampledFrom([]string{
		"Authorization: x", "Cookie: a=b", "Cache-Control: no-store", "Cache-Control: no-cache", "Cache-Control: max-age=0",
	}), rapid.ID).Draw(t, "request")...)
}

func responseLines(t *rapid.T) []string {
	return rapid.SliceOfDistinct(rapid.SampledFrom([]string{
		"Date: " + httpDate(0), "Date: " + httpDate(-time.Hour), `ETag: "a"`, "Last-Modified: " + httpDate(-time.Hour),
		"Expires: " + httpDate(time.Hour), "Expires: 0", "Set-Cookie: a=b", "Vary: a", "Vary: *",
	}), rapid.ID).Draw(t, "response")
}
