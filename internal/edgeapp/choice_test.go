package edgeapp_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A cache gives one client's response to all, so nothing behind it may be for
// some clients only.
func TestChoiceBehindTheCache(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"proxy by cookie", `http://a.test {
			@beta header Cookie *beta=1*
			fake_cache
			reverse_proxy @beta 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, []string{"reverse_proxy at "}},
		{"proxy by address", `http://a.test {
			@staff remote_ip 10.0.0.0/8
			fake_cache
			reverse_proxy @staff 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, []string{"depends on the client (remote_ip)"}},
		{"PHP by header", `http://a.test {
			@beta header X-Beta 1
			root * /srv
			fake_cache
			php_fastcgi @beta 127.0.0.1:9000
			file_server
		}`, []string{"redir at ", "rewrite at ", "reverse_proxy at "}},
		{"files by header", `http://a.test {
			@mobile header_regexp User-Agent (?i)mobile
			fake_cache
			file_server @mobile {
				root /srv/m
			}
			file_server {
				root /srv/d
			}
		}`, []string{"file_server at "}},
		{"files that may be missing, by header", `http://a.test {
			@mobile not header User-Agent *Mobile*
			fake_cache
			file_server @mobile {
				root /srv/m
				pass_thru
			}
			file_server
		}`, []string{"file_server at "}},
		{"handle by header", `http://a.test {
			route {
				fake_cache
				@beta header X-Beta 1
				handle @beta {
					reverse_proxy 127.0.0.1:2
				}
				handle {
					reverse_proxy 127.0.0.1:1
				}
			}
		}`, []string{"reverse_proxy at "}},
		{"rewrite by header", `http://a.test {
			route {
				fake_cache
				@mobile header User-Agent *Mobile*
				rewrite @mobile /m{uri}
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"rewrite at "}},
		{"root by header", `http://a.test {
			route {
				fake_cache
				@beta header X-Beta 1
				root @beta /srv/beta
				file_server
			}
		}`, []string{"root at "}},
		{"root by header in front", `http://a.test {
			@beta header X-Beta 1
			root * /srv
			root @beta /srv/beta
			fake_cache
			file_server
		}`, []string{"root at "}},
		{"root by header around the cache", `http://a.test {
			@beta header X-Beta 1
			root * /srv
			handle @beta {
				root /srv/beta
				fake_cache beta
				file_server
			}
			fake_cache
			file_server
		}`, nil},
		{"request field by header", `http://a.test {
			route {
				fake_cache
				@beta header X-Beta 1
				request_header @beta X-Which beta
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"request_header at "}},
		{"response field by header", `http://a.test {
			route {
				fake_cache
				@beta header X-Beta 1
				header @beta X-Which beta
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"header at "}},
		{"templates by header", `http://a.test {
			route {
				fake_cache
				@beta header X-Beta 1
				templates @beta
				file_server
			}
		}`, []string{"templates at "}},
		{"what leaves the response alone", `http://a.test {
			route {
				fake_cache
				@beta header X-Beta 1
				log_skip @beta
				log_append @beta beta yes
				encode @beta gzip
				tracing @beta
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
		{"by path, method and host", `http://a.test, http://b.test {
			@api path /api/*
			@write method POST PUT
			@b host b.test
			@re path_regexp ^/x/
			@secure protocol https
			@expression expression path('/e/*') && !method('PUT') || {http.request.uri.path}.startsWith('/f')
			fake_cache
			reverse_proxy @api 127.0.0.1:2
			reverse_proxy @write 127.0.0.1:3
			reverse_proxy @b 127.0.0.1:4
			reverse_proxy @re 127.0.0.1:5
			reverse_proxy @secure 127.0.0.1:6
			reverse_proxy @expression 127.0.0.1:7
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"gRPC beside the cache", `http://a.test {
			@grpc protocol grpc
			@web header Content-Type application/grpc*
			fake_cache
			reverse_proxy @grpc h2c://127.0.0.1:2
			reverse_proxy @web h2c://127.0.0.1:3
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"event streams beside the cache", `http://a.test {
			@events header Accept text/event-stream
			fake_cache
			reverse_proxy @events 127.0.0.1:2 {
				flush_interval -1
			}
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"what may be an event stream", `http://a.test {
			@events header Accept *text/event-stream*
			fake_cache
			reverse_proxy @events 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, []string{"(header Accept)"}},
		{"by version of HTTP", `http://a.test {
			route {
				@old protocol http/1.0
				fake_cache
				abort @old
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"abort at "}},
		{"by scheme that is not in the key", `http://a.test {
			route {
				@plain protocol http
				fake_cache ignore_scheme
				redir @plain https://a.test{uri}
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{"redir at "}},
		{"by host that is not in the key", `http://a.test, http://b.test {
			@b host b.test
			fake_cache n ignore_host
			reverse_proxy @b 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, []string{"reverse_proxy at "}},
		{"by expression on a header", `http://a.test {
			@beta expression {http.request.header.X-Beta} == "1"
			fake_cache
			reverse_proxy @beta 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, []string{"reverse_proxy at "}},
		{"by expression with a matcher", `http://a.test {
			@beta expression path('/x') && header({'X-Beta': '1'})
			fake_cache
			reverse_proxy @beta 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, []string{"reverse_proxy at "}},
		{"by what is in the key", `http://a.test {
			@header header X-Beta 1
			@regexp header_regexp X-Beta ^2
			@cookie vars {http.request.cookie.beta} 1
			@value vars device mobile
			@expression expression {http.request.header.X-Beta} == "3" && {vars.device} == "tablet"
			fake_cache header=X-Beta cookie=beta value={http.vars.device}
			reverse_proxy @header 127.0.0.1:2
			reverse_proxy @regexp 127.0.0.1:3
			reverse_proxy @cookie 127.0.0.1:4
			reverse_proxy @value 127.0.0.1:5
			reverse_proxy @expression 127.0.0.1:6
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"by another header than that in the key", `http://a.test {
			@beta {
				header X-Beta 1
				header X-Other 1
			}
			fake_cache header=X-Beta
			reverse_proxy @beta 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, []string{"header X-Other"}},
		{"by a parameter that is in the key", `http://a.test {
			@preview query preview=1
			fake_cache query=preview
			reverse_proxy @preview 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"by a parameter that is not in the key", `http://a.test {
			@preview query preview=1
			fake_cache query=page
			reverse_proxy @preview 127.0.0.1:2
			reverse_proxy 127.0.0.1:1
		}`, []string{"(query preview)"}},
		{"caches chosen by a parameter", `http://a.test {
			@preview query preview=1
			handle @preview {
				fake_cache
				reverse_proxy 127.0.0.1:2
			}
			handle {
				fake_cache
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
		{"caches chosen by a parameter that is not in the key", `http://a.test {
			@preview query preview=1
			handle @preview {
				fake_cache query=page
				reverse_proxy 127.0.0.1:2
			}
			handle {
				fake_cache query=page
				reverse_proxy 127.0.0.1:1
			}
		}`, []string{`chosen by query {"`}},
		{"caches chosen by a header that is in the key", `http://a.test {
			@beta header X-Beta 1
			handle @beta {
				fake_cache header=X-Beta
				reverse_proxy 127.0.0.1:2
			}
			handle {
				fake_cache header=X-Beta
				reverse_proxy 127.0.0.1:1
			}
		}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireFaults(t, startErr(t, adapt(t, test.text)), test.want)
		})
	}
}

// What an access check in front says of the client must not reach the origin
// unless the key has it.
func TestIdentityInFrontOfTheCache(t *testing.T) {
	site := func(before, cache string) string {
		return `http://a.test {
			forward_auth /member/* 127.0.0.1:2 {
				uri /check
				copy_headers Remote-User
			}
			` + before + `
			` + cache + `
			reverse_proxy 127.0.0.1:1
		}`
	}
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"not in the key", site("", "fake_cache"), []string{"request field Remote-User is set at "}},
		{"in the key", site("", "fake_cache header=Remote-User"), nil},
		{"removed", site("request_header -Remote-User", "fake_cache"), nil},
		{"removed for some", site("request_header /x -Remote-User", "fake_cache"), []string{"request field Remote-User"}},
		{"not forwarded", site("", "fake_cache forwards=X-Other"), nil},
		{"forwarded", site("", "fake_cache forwards=Remote-User"), []string{"request field Remote-User"}},
		{"on other paths", site("", "fake_cache /static/*"), nil},
		{"in other handle blocks", `http://a.test {
			handle /member/* {
				forward_auth 127.0.0.1:2 {
					uri /check
					copy_headers Remote-User
				}
				reverse_proxy 127.0.0.1:1
			}
			fake_cache
			reverse_proxy 127.0.0.1:1
		}`, nil},
		{"of basic_auth", `http://a.test {
			basic_auth {
				bob ` + hash + `
			}
			request_header X-User {http.auth.user.id}
			fake_cache
			reverse_proxy 127.0.0.1:1
		}`, []string{"request field X-User"}},
		{"of nobody", `http://a.test {
			request_header X-Site a
			fake_cache
			reverse_proxy 127.0.0.1:1
		}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := startErr(t, adapt(t, test.text))
			requireFaults(t, err, test.want)
			if err != nil {
				require.ErrorContains(t, err, "key header ")
			}
		})
	}
}
