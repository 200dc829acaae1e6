package edgecache

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// FuzzCaddyfile: whatever stands in the block is refused by an error that names the
// directive or the place, or gives a configuration that JSON carries without loss.
func FuzzCaddyfile(f *testing.F) {
	for _, block := range []string{
		"ttl 1m", "ttl off\noverride 1h all", "negative_ttl 10s 404 410", "heuristic 0.1 1d", "set_cookie store", "key {\nquery sort\nquery ignore tracking\nheader X-A\n}",
		"key {\nquery allow a b\ncookie c\nvalue {http.vars.a}\nignore_scheme\n}", "collapse {\nwaiters 1\ntimeout 1s\n}", "collapse off", "bypass_cookie a*",
		"purge_allow 10.0.0.0/8 ::1", "request_headers key", "allow_headers A B", "max_object_size 1MiB", "development 2030-01-31T12:00:00Z", "tags A", "name x\nnamespace y",
	} {
		f.Add(block)
	}
	f.Fuzz(func(t *testing.T, block string) {
		if strings.Contains(block, "{$") || strings.Contains(block, "import") {
			return // what is outside of this parser
		}
		h := httpcaddyfile.Helper{Dispenser: caddyfile.NewTestDispenser("edge_cache {\n" + block + "\n}"), State: make(map[string]any)}
		handler, err := parseCaddyfile(h)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		text, err := json.Marshal(handler)
		require.NoError(t, err)
		again := new(Handler)
		require.NoError(t, caddy.StrictUnmarshalJSON(text, again), "%s", text)
		same, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(text), string(same))
		ctx, cancel := caddy.NewContext(reloadtest.Context())
		defer cancel()
		if _, err := ctx.LoadModuleByID("http.handlers.edge_cache", text); err != nil {
			require.ErrorContains(t, err, "edge_cache")
		}
	})
}

// FuzzStartsWithin: a field for which the whole is fetched asks for bytes of the beginning.
func FuzzStartsWithin(f *testing.F) {
	for _, field := range []string{"bytes=0-9", "bytes=-5", "bytes=5-", "bytes=10-19,0-1", "bytes= 3 -4", "items=0-1", "bytes=99999999999999999999-", "bytes=+1-2", "BYTES=0-1", "bytes=100-", "bytes=99-"} {
		f.Add(field)
	}
	f.Fuzz(func(t *testing.T, field string) {
		if !startsWithin(field, 100) {
			return
		}
		require.True(t, asksRange(http.Header{"Range": {field}}), "what starts is a range")
		first := strings.TrimSpace(strings.FieldsFunc(field+"-", func(r rune) bool { return r == '=' || r == '-' })[1])
		n, err := strconv.Atoi(first)
		require.NoError(t, err)
		require.True(t, n >= 0 && n < 100)
	})
}

// FuzzRange: of a stored response no bytes are given but its own, in the length that is
// announced, or none with 416.
func FuzzRange(f *testing.F) {
	for _, field := range []string{"bytes=0-9", "bytes=-5", "bytes=95-", "bytes=10-19,0-1", "bytes=200-", "bytes=a-b", "bytes=0-0,-1", "items=0-1"} {
		f.Add(field)
	}
	body := pattern(100)
	f.Fuzz(func(t *testing.T, field string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Range"] = []string{field}
		w := httptest.NewRecorder()
		serveRange(w, r, strings.NewReader(string(body)))
		if w.Header().Get("Content-Length") != "" {
			require.Equal(t, strconv.Itoa(w.Body.Len()), w.Header().Get("Content-Length"))
		}
		switch w.Code {
		case http.StatusOK:
			require.Equal(t, body, w.Body.Bytes())
		case http.StatusPartialContent:
			if strings.HasPrefix(w.Header().Get("Content-Type"), "multipart/") {
				return
			}
			unit, span, _ := strings.Cut(w.Header().Get("Content-Range"), " ")
			require.Equal(t, "bytes", unit)
			span, _, _ = strings.Cut(span, "/")
			from, to, _ := strings.Cut(span, "-")
			first, err := strconv.Atoi(from)
			require.NoError(t, err)
			last, err := strconv.Atoi(to)
			require.NoError(t, err)
			require.Equal(t, body[first:last+1], w.Body.Bytes())
		default:
			require.Equal(t, http.StatusRequestedRangeNotSatisfiable, w.Code)
		}
	})
}

// FuzzNominates: a Connection field passes the cache by exactly when a proxy that follows
// RFC 9110 would drop a field for it that is not the connection's own.
func FuzzNominates(f *testing.F) {
	for _, line := range []string{"close", "keep-alive, Upgrade", "Cookie", " ,\tTE ,", "X-A,close", "connection", "\"a,b\""} {
		f.Add(line, "")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		var named []string
		for name := range strings.SplitSeq(one+","+two, ",") {
			name = strings.ToLower(strings.Trim(name, " \t"))
			known := slices.ContainsFunc(append([]string{"", "close"}, hopByHop...), func(s string) bool { return strings.EqualFold(s, name) })
			if !known {
				named = append(named, name)
			}
		}
		require.Equal(t, len(named) > 0, nominates([]string{one, two}), "%q", named)
	})
}

// FuzzTags: tags hold no separator, come in the order of the field, and what is left out is
// separators alone.
func FuzzTags(f *testing.F) {
	for _, field := range []string{"a b", "a,b", " ,a,, b\t", "a;b", ""} {
		f.Add(field)
	}
	h := &Handler{tagHeaders: defaultTagHeaders}
	f.Fuzz(func(t *testing.T, field string) {
		tags, ok := h.tagsOf(http.Header{"Surrogate-Key": {field}}, new(target))
		rest := field
		for _, tag := range tags {
			require.NotEmpty(t, tag)
			require.False(t, strings.ContainsFunc(tag, isTagSeparator), "%q", tag)
			before, after, found := strings.Cut(rest, tag)
			require.True(t, found)
			require.Empty(t, strings.TrimFunc(before, isTagSeparator))
			rest = after
		}
		require.Empty(t, strings.TrimFunc(rest, isTagSeparator))
		require.Equal(t, len(tags) <= maxTags && !slices.ContainsFunc(tags, func(s string) bool { return len(s) > maxTagLength }), ok)
	})
}

// FuzzDecodeKey: a key comes back from the way that JSON writes it, with the quotes or
// without.
func FuzzDecodeKey(f *testing.F) {
	for _, key := range []string{"\x00https\x00example.com\x00/news", `a"b`, `"`, `\`, "é\u2028", "", `"a"`} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		_, _ = decodeKey(key) // of whatever a user writes
		text, err := json.Marshal(key)
		require.NoError(t, err)
		var want string // JSON replaces what is no UTF-8
		require.NoError(t, json.Unmarshal(text, &want))
		got, err := decodeKey(string(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
		if inner := string(text[1 : len(text)-1]); len(inner) < 2 || inner[0] != '"' {
			got, err := decodeKey(inner)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
}

// FuzzWantsEvents: a media type in a list is found wherever it stands.
func FuzzWantsEvents(f *testing.F) {
	f.Add("text/html, */*;q=0.1", "application/json")
	f.Fuzz(func(t *testing.T, before, after string) {
		require.True(t, wantsEvents([]string{before + ", Text/Event-Stream;q=1," + after}))
		require.Equal(t, wantsEvents([]string{before, after}), wantsEvents([]string{before}) || wantsEvents([]string{after}))
	})
}
