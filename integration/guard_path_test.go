package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// secrets names a path in each of the ways that access rules do.
const secrets = `
	@admin path /admin /admin/*
	respond @admin "denied" 403
	@regexp path_regexp (?i)^/secret(/|$)
	respond @regexp "denied" 403
	handle /private* {
		error "denied" 403
	}
`

// readings are the paths that some server may take a path for: decoded up to four times,
// with backslashes for slashes, without parameters if it is a servlet container, without
// dot segments and empty ones, in lower case.
func readings(path string, parameters bool) (all []string) {
	path, _, _ = strings.Cut(path, "?")
	for range 4 {
		var out []string
		for segment := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
			if parameters {
				segment, _, _ = strings.Cut(segment, ";")
			} else if name, _, _ := strings.Cut(segment, ";"); name == ".." {
				segment = name
			}
			switch segment {
			case "", ".":
			case "..":
				out = out[:max(0, len(out)-1)]
			default:
				out = append(out, segment)
			}
		}
		all = append(all, strings.ToLower("/"+strings.Join(out, "/")))
		decoded, err := url.PathUnescape(path)
		if err != nil {
			break
		}
		path = strings.NewReplacer("\xc0\xae", ".", "\xc0\xaf", "/", "\xc1\x9c", `\`, "\xe0\x80\xaf", "/", "\xe0\x80\xae", ".").Replace(decoded)
	}
	return all
}

// spellings are ways to write a path that names a secret.
func spellings(word string) (all []string) {
	first, rest := word[:1], word[1:]
	code := fmt.Sprintf("%02x", first[0])
	up := []string{
		"..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "%25252e%25252e", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "..;", "..;a=b", "..%3b", "..%00", "%2e%2e%3bx", "%%32%65.", "%u002e%u002e",
	}
	slashes := []string{"/", "%2f", "%2F", "%252f", `\`, "%5c", "%5C", "%255c", "%c0%af", "%c1%9c", "//", "/./", "/%2e/", `/\`, "%2f/", "/;/", "%e0%80%af"}
	for _, u := range up {
		for _, s := range slashes {
			all = append(all, "/public"+s+u+s+word+s+"x", "/"+u+s+word+"/x", "/a/b"+s+u+s+u+s+word)
		}
	}
	for _, s := range slashes {
		all = append(all, s+word+s+"x", "/"+word+s+"x", "/"+s+word+s+"x", "/."+s+word+"/x", "/x"+s+".."+s+word+"/x")
	}
	for _, w := range []string{
		"%" + code + rest, "%" + strings.ToUpper(code) + rest, "%25" + code + rest, "%2525" + code + rest, strings.ToUpper(word), strings.ToUpper(first) + rest,
		word + "%20", word + "%09", word + "%00", word + "%0a", word + ".", word + ";", word + ";a=b", ";" + word, "%3b" + word, word + "%3f", word + "%23", word + "%ff", word + "#",
	} {
		all = append(all, "/"+w+"/x", "/"+w, "//"+w+"/x", "/./"+w+"/x")
	}
	for _, host := range []string{"http://SITE", "HTTP://SITE", "http://SITE:80", "http://other.example", "//SITE"} {
		all = append(all, host+"/"+word+"/x", host+"/public/../"+word+"/x")
	}
	return all
}

// TestGuardPathsAgainstAccessRules sends spellings of paths that rules name. Whatever
// reaches the origin can't be read as one of them, however the origin reads paths.
func TestGuardPathsAgainstAccessRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, guard string
		parameters  bool // a servlet container is behind
	}{
		{"defaults", "edge_guard", false},
		{"dot segments and slashes", "edge_guard {\ndot_segments\nmerge_slashes\n}", false},
		{"a servlet container", "edge_guard {\ncheck path_parameter enforce\n}", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startGuarded(t, test.guard, secrets)
			var sent, passed, denied int
			for _, word := range []string{"admin", "secret", "private"} {
				for _, target := range spellings(word) {
					sent++
					s := c.open()
					s.send("GET " + target + " HTTP/1.1\r\nHost: SITE\r\nConnection: close\r\n\r\n")
					if resp := s.next(); resp != nil && resp.StatusCode == http.StatusForbidden {
						denied++
					}
					for _, r := range c.arrived() {
						passed++
						for _, reading := range readings(r.URI, test.parameters) {
							require.NotRegexp(t, `^/(admin|secret|private)(/|$)`, reading, "sent %s, at the origin %s", target, r.URI)
						}
					}
				}
			}
			require.Greater(t, sent, 900)
			require.Greater(t, denied, 50, "rules that name the path see its normal form")
			require.Less(t, passed, sent/3)
			require.Positive(t, passed, "what means something else passes")
		})
	}
}

// TestGuardPathsWithoutGuard shows that the test above can fail.
func TestGuardPathsWithoutGuard(t *testing.T) {
	t.Parallel()
	c := startGuarded(t, "", secrets)
	bypasses := 0
	for _, target := range spellings("admin") {
		s := c.open()
		s.send("GET " + target + " HTTP/1.1\r\nHost: SITE\r\nConnection: close\r\n\r\n")
		s.next()
		for _, r := range c.arrived() {
			for _, reading := range readings(r.URI, false) {
				if reading == "/admin" || strings.HasPrefix(reading, "/admin/") {
					bypasses++
					break
				}
			}
		}
	}
	require.Greater(t, bypasses, 10)
}

// TestGuardNormalFormIsSeenByAll: matchers, the error routes and the origin see one form,
// and the access log what was sent, over each protocol.
func TestGuardNormalFormIsSeenByAll(t *testing.T) {
	t.Parallel()
	c := startGuarded(t, "edge_guard", `
		@named path /na%2Fme
		error /broken/* 418
		header @named X-Matched yes
		handle_errors {
			@broken path /broken/*
			respond @broken "{http.request.uri}" 418
		}
	`)
	harness.EachTLS(t, func(t *testing.T, p harness.Proto) {
		c := c.in(t)
		path := "/na%2fme/" + string(p) + "%7e?q=%41%2f"
		got := c.Get(p, c.URL("secure")+path)
		require.Equal(t, http.StatusOK, got.Status)
		all := c.arrived()
		require.Len(t, all, 1)
		require.Equal(t, "/na%2Fme/"+string(p)+"~?q=A%2F", all[0].URI)
		entry := c.WaitLog(isAccess(path))
		require.Equal(t, "normalization", entry["edge_guard_repaired"])
		got = c.Get(p, c.URL("secure")+"/%62roken/x?y=%61")
		require.Equal(t, http.StatusTeapot, got.Status)
		require.Equal(t, "/broken/x?y=a", string(got.Body))
		got = c.Get(p, c.URL("secure")+"/a/%2e%2e/b")
		require.Equal(t, http.StatusBadRequest, got.Status)
	})
}

// TestGuardErrorRoutesProxyTheNormalForm: a request that was refused before its target was
// looked at reaches a proxy of the error routes in normal form, with its cookies.
func TestGuardErrorRoutesProxyTheNormalForm(t *testing.T) {
	t.Parallel()
	site := strings.Replace(guardedSite, "{{.more}}", "handle_errors {\nreverse_proxy {{.origin}}\n}", 1)
	c := startCaddyfile(t, site, harness.Vars{"guard": "edge_guard"})
	c.origin.Handle("*", text("ok"))
	s := c.open()
	s.send("TRACE /%61/%2fb?q=%41 HTTP/1.1\r\nHost: SITE\r\nConnection: close, Cookie\r\nCookie: a=b\r\n\r\n")
	require.NotNil(t, s.next())
	all := c.arrived()
	require.Len(t, all, 1)
	require.Equal(t, "/a/%2Fb?q=A", all[0].URI)
	require.Equal(t, "a=b", all[0].Header.Get("Cookie"))
}
