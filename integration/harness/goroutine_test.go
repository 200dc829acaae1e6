package harness

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

const dump = `goroutine 51 [running]:
net/http/pprof.Index({0x1, 0x2}, 0x3)
	/go/pprof.go:1 +0x1
created by net/http.(*Server).Serve in goroutine 36
	/go/server.go:2 +0x2

goroutine 1 [select (no cases)]:
main.main()
	/main.go:11 +0x1d

goroutine 23 [chan receive]:
app.work()
	/app.go:43 +0x137
created by app.start in goroutine 1
	/app.go:38 +0x25

goroutine 24 [chan receive, 2 minutes]:
app.work()
	/app.go:43 +0x137
created by app.start in goroutine 7
	/app.go:38 +0x25

goroutine 25 [IO wait]:
net/http.(*persistConn).readLoop(0x1)
	/go/transport.go:1 +0x1
created by net/http.(*Transport).dialConn in goroutine 9
	/go/transport.go:1 +0x1
`

func TestParseGoroutines(t *testing.T) {
	got := parseGoroutines(dump)
	require.Len(t, got, 2)
	require.Len(t, got["main"], 1)
	require.Len(t, got["app.start"], 2)
	require.True(t, strings.HasPrefix(got["app.start"][1], "goroutine 24 ["))
}

func TestExcess(t *testing.T) {
	one := goroutines{"a": {"stack 1"}}
	two := goroutines{"a": {"stack 1", "stack 2"}, "b": {"stack 3"}}
	require.Empty(t, one.excess(two))
	require.Empty(t, two.excess(two))
	require.Equal(t, "1 more than at the start were created by a:\nstack 1\n\nstack 2\n\n"+
		"1 more than at the start were created by b:\nstack 3\n\n", two.excess(one))
}

func FuzzParseGoroutines(f *testing.F) {
	f.Add(dump)
	f.Add("goroutine 1 [x]:\ncreated by ")
	f.Fuzz(func(t *testing.T, text string) {
		got := parseGoroutines(text)
		count := 0
		for _, stacks := range got {
			count += len(stacks)
		}
		require.LessOrEqual(t, count, strings.Count(text, "goroutine "))
		require.Empty(t, got.excess(got))
	})
}

func TestARequestThatHangsIsLeftOver(t *testing.T) {
	o := origin.Start(t)
	gate := origin.NewGate()
	o.Handle("/", origin.Reply{HoldHeader: gate})
	e := Start(t, `
		{{http "site"}} {
			reverse_proxy {{.origin}}
		}
	`, Vars{"origin": o.Addr()})

	client := e.Client(H1)
	req, err := NewRequest(http.MethodGet, e.URL("site")+"/", "")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := Send(client, req)
		done <- err
	}()
	o.WaitArrived(t, "/", 1)

	rest, err := e.admin.leftover(e.base, 0)
	require.NoError(t, err)
	require.Contains(t, rest, "reverseproxy.(*Handler).ServeHTTP")

	gate.Open()
	require.NoError(t, <-done)
	e.closeClients()
	rest, err = e.admin.leftover(e.base, leftoverLimit)
	require.NoError(t, err)
	require.Empty(t, rest)
}
