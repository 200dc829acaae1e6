package integration

import (
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// faultSites are two sites for each fault: its backend alone, and with one that is
// well, to which the proxy turns.
const faultSites = `
	{{range $name, $fault := .faults}}
	{{http $name}} {
		edge_breaker {
			{{$.rules}}
			{{if $fault.Deadline}}{{$fault.Deadline}} {{$.deadline}}{{end}}
		}
		reverse_proxy {{$fault.Backend}} {
			lb_policy edge
			transport http {
				keepalive off
				{{$fault.Transport}}
			}
		}
	}
	{{http (print $name "-retry")}} {
		log
		edge_breaker {
			{{$.rules}}
			{{if $fault.Deadline}}{{$fault.Deadline}} {{$.deadline}}{{end}}
		}
		reverse_proxy {{$fault.Backend}} {{$fault.Well}} {
			lb_policy edge
			lb_retries 1
			transport http {
				keepalive off
				{{$fault.Transport}}
			}
		}
	}
	{{end}}
	{{.more}}
`

// backendFault is a way for a backend to fail.
type backendFault struct {
	Backend   string // its address
	Well      string // one like it that is well; "": retries are no matter
	Transport string // lines of the transport
	Deadline  string // the option of edge_breaker that ends it
	status    int    // that the client gets; 0: a body that breaks off
	kind      string // in the metrics
}

func TestFaults(t *testing.T) {
	t.Parallel()
	faults := startFaults(t)
	few := harness.Vars{"faults": faults, "rules": "failures 3\nopen 1h 1h", "deadline": "1s", "more": ""}
	b := startBreakerFile(t, 1, faultSites, few)

	t.Run("each", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(faults)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b.in(t).requireFault(name, faults[name])
			})
		}
	})
	t.Run("reloads during all this", func(t *testing.T) { b.in(t).requireReloadsDuringFaults(faults) })
}

// requireFault meets a fault until the backend opens.
func (b *breakerEdge) requireFault(name string, fault *backendFault) {
	t := b.t
	t.Helper()
	sent := 0
	if fault.Well != "" {
		got := b.fetch(b.URL(name+"-retry") + "/" + name)
		require.Equal(t, http.StatusOK, got.Status, "the other one answers")
		line := b.WaitLog(isAccess("/" + name))["edge_breaker"]
		require.Equal(t, fault.Backend+" "+fault.kind+", "+fault.Well+" 200", line)
		sent++
	}
	for ; sent < 3; sent++ {
		fault.require(t, b, name)
	}
	poll(t, "it opens", func() bool { return b.statusOf(fault.Backend).State == "open" })
	requireUnavailable(t, b.fetch(b.URL(name)+"/page"), 3500, 3600)
	require.Equal(t, map[string]int{fault.kind: 3}, b.failures(fault.Backend))
	m := b.Metrics()
	require.InDelta(t, 0, m[`caddy_edge_breaker_in_flight{backend="`+fault.Backend+`"}`], 0)
	require.InDelta(t, 1, m[`caddy_edge_breaker_state{backend="`+fault.Backend+`",state="open"}`], 0)
	require.InDelta(t, 1, m[`caddy_edge_breaker_transitions_total{backend="`+fault.Backend+`",to="open"}`], 0)
}

// requireReloadsDuringFaults reloads while all faults go on.
func (b *breakerEdge) requireReloadsDuringFaults(faults map[string]*backendFault) {
	b.t.Helper()
	const kept = "dead" // stays open all the time
	many := harness.Vars{"rules": "failures 1000000\nopen 1h 1h", "deadline": "100ms"}
	before := b.statusOf(faults[kept].Backend)
	for name, fault := range faults {
		if name == kept {
			continue
		}
		for _, mode := range []string{"closed", "auto"} {
			status, body := b.Admin(http.MethodPost, "/edge/breaker/force", map[string]string{"address": fault.Backend, "mode": mode})
			require.Equal(b.t, http.StatusOK, status, string(body))
		}
	}
	require.NoError(b.t, b.Reload(faultSites, many))

	counted := b.Metrics()
	client := b.Client(harness.H1)
	for round := range 10 {
		// Each fault is met while the config is replaced.
		var traffic sync.WaitGroup
		for name := range faults {
			req, err := harness.NewRequest(http.MethodGet, b.URL(name)+"/page", "")
			require.NoError(b.t, err)
			traffic.Go(func() { _, _ = harness.Send(client, req) }) // a listener that goes may drop it
		}
		more := ""
		if round%3 == 2 {
			more = ":1 {\nfile_server {\nprecompressed nonsense\n}\n}"
		}
		err := b.Reload(faultSites, harness.Vars{"more": more})
		require.Equal(b.t, more != "", err != nil, "%v", err)
		traffic.Wait()
	}
	for name, fault := range faults {
		poll(b.t, "nothing is under way", func() bool { return b.statusOf(fault.Backend).Active == 0 })
		found := failuresIn(b.Metrics(), fault.Backend)
		if name != kept {
			require.Greater(b.t, found[fault.kind], failuresIn(counted, fault.Backend)[fault.kind], name)
		}
		require.Len(b.t, found, 1, "%s: %v", name, found)
	}
	after := b.statusOf(faults[kept].Backend)
	require.Equal(b.t, "open", after.State)
	require.WithinDuration(b.t, *before.OpenUntil, *after.OpenUntil, time.Second)
}

// fetch gets a URL on a client of its own, as tests in parallel have to.
func (b *breakerEdge) fetch(url string) *harness.Response {
	b.t.Helper()
	req, err := harness.NewRequest(http.MethodGet, url, "")
	require.NoError(b.t, err)
	got, err := harness.Send(b.Client(harness.H1), req)
	require.NoError(b.t, err)
	return got
}

// require sends a request that meets the fault.
func (f *backendFault) require(t *testing.T, b *breakerEdge, name string) {
	t.Helper()
	client := b.Client(harness.H1)
	req, err := harness.NewRequest(http.MethodGet, b.URL(name)+"/page", "")
	require.NoError(t, err)
	got, err := harness.Send(client, req)
	if f.status == 0 {
		require.Error(t, err, "the client sees that the body is not whole")
		require.Equal(t, http.StatusOK, got.Status)
		return
	}
	require.NoError(t, err)
	require.Equal(t, f.status, got.Status, string(got.Body))
}

// startFaults starts a backend for each fault.
func startFaults(t *testing.T) map[string]*backendFault {
	t.Helper()
	backend := func(reply origin.Reply) string {
		o := origin.Start(t)
		o.Handle("/*", reply)
		return o.Addr()
	}
	well := backend(text("ok"))
	half := origin.Reply{Headers: []string{"Content-Length: 100000"}, Body: origin.Pattern(10_000)}
	ending := func(reply origin.Reply, e origin.Ending) origin.Reply {
		reply.Ending = e
		return reply
	}
	const timeout = http.StatusGatewayTimeout
	return map[string]*backendFault{
		"dead":        {Backend: fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t)), Well: well, status: 502, kind: "dial"},
		"hang":        {Backend: backend(origin.Reply{HoldHeader: origin.NewGate()}), Well: well, status: timeout, kind: "timeout", Deadline: "header_timeout"},
		"slow-header": {Backend: backend(origin.Reply{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Ty"), Ending: origin.Hang}), Well: well, status: timeout, kind: "timeout", Deadline: "header_timeout"},
		"reset":       {Backend: backend(resetting), Well: well, status: 502, kind: "reset"},
		"no-http":     {Backend: backend(origin.Reply{Raw: []byte("no HTTP\r\n\r\n")}), status: 502, kind: "malformed"},
		"body-reset":  {Backend: backend(ending(half, origin.Reset)), kind: "reset"},
		"body-cut":    {Backend: backend(ending(half, origin.Cut)), kind: "reset"},
		"body-hangs":  {Backend: backend(ending(half, origin.Hang)), kind: "timeout", Deadline: "timeout"},
		"full":        {Backend: fullListener(t), Well: well, status: 502, kind: "dial", Transport: "dial_timeout 100ms"},
		"full-header": {Backend: fullListener(t), Well: well, status: timeout, kind: "timeout", Deadline: "header_timeout"},
		"tls-plain":   {Backend: plainServer(t), status: 502, kind: "tls", Transport: "tls"},
		"tls-name":    {Backend: badCertificate(t), status: 502, kind: "tls", Transport: "tls"},
	}
}

// plainServer starts a server that answers everything, also what is no HTTP, as
// those do that speak no TLS.
func plainServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// badCertificate starts a TLS server that nobody has a reason to trust.
func badCertificate(t *testing.T) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// fullListener returns the address of a listener whose queue is full, so that the
// kernel answers no attempt to connect.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Close(fd)) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for refused := 0; refused < 3; {
		conn, err := net.DialTimeout("tcp", addr, 50*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			refused = 0
			continue
		}
		var timeout net.Error
		require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "%v", err)
		refused++
	}
	return addr
}
