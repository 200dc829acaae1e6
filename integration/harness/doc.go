// Package harness runs the real binary for black-box tests. It is built with the race
// detector if the tests are: go test -race.
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
//
//	func TestPageIsServed(t *testing.T) {
//		o := origin.Start(t)
//		o.Handle("/", origin.Reply{Body: []byte("hello")})
//		e := harness.Start(t, `
//			{{http "site"}} {
//				reverse_proxy {{.origin}}
//			}
//		`, harness.Vars{"origin": o.Addr()})
//
//		got := e.Get(harness.H1, e.URL("site")+"/", "Accept-Encoding: gzip")
//		require.Equal(t, "hello", string(got.Body))
//	}
//
// A Caddyfile is a text/template. {{http "x"}} and {{https "x"}} are site
// addresses on a free port, {{port "x"}} is the bare port number, and {{dir}} a
// directory that lives as long as the edge; the same name gives the same port in
// every text given to one Edge. Vars are fields: {{.origin}}.
//
// The global options get lines of the harness: listen on 127.0.0.1 only, issue
// certificates from the local authority without touching the trust store, and no
// redirects from port 80. HTTP/2 without TLS has to be asked for:
//
//	{
//		servers {
//			protocols h1 h2 h2c h3
//		}
//	}
//
// ClientFrom gives clients of other addresses.
//
// When the test ends, the edge is stopped by SIGTERM. The test fails when the
// process does not exit with 0, when its output holds a data race or a panic, or
// when goroutines were left over.
package harness
