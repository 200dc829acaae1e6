//go:build !race

package crs

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/crstest"
)

// unreachable are the cases that a server in Go does not hand on as they are meant, with
// the reason.
var unreachable = map[string]string{
	"920100-8": "Apache itself refuses a colon in a path; the rules have nothing against it",
	"920280-3": "Go refuses the version, with 505",
	"920290-4": "in HTTP/1.0 Go does not tell an empty Host from none, which is 920280",
	"920430-3": "Go refuses the version, with 505",
	"920430-5": "Go answers a request line without a version, with 400",
	"920430-8": "Go refuses the version, with 505",
	"920430-9": "Go refuses the version, with 505",
	"920620-1": "Apache makes one field of two; Go hands on both, which the rule is against",
}

// refused are the rules by which content is refused that can't be read. The cases of 922130
// say that this is as good as the rule itself.
var refused = []int{200002, 200003}

// trial is a server whose handler is the engine, in front of the origin of the tests.
type trial struct {
	engine *Engine
	mu     sync.Mutex
	logs   []string
	ids    []int
}

func (tr *trial) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, _ := io.ReadAll(r.Body)
	request := &Request{
		ID: "test", Method: r.Method, URI: r.RequestURI, Proto: r.Proto, Host: r.Host, Header: r.Header, Chunked: len(r.TransferEncoding) > 0,
		Client: netip.MustParseAddr("127.0.0.1"), Body: content,
	}
	s := tr.engine.Begin(request, nil)
	defer func() {
		s.tx.ProcessLogging()
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, m := range s.tx.MatchedRules() {
			if m.(logged).Log() {
				tr.ids = append(tr.ids, m.Rule().ID())
				tr.logs = append(tr.logs, m.ErrorLog())
			}
		}
		_ = s.tx.Close()
	}()
	v := s.Request()
	if v.Err != nil {
		panic(v.Err)
	}
	if v.Blocked {
		w.WriteHeader(v.Status)
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(content)))
	back := httptest.NewRecorder()
	crstest.Reflect(back, r)
	v = s.Response(&Response{Status: back.Code, Proto: r.Proto, Header: back.Header(), Body: back.Body.Bytes()})
	if v.Blocked {
		w.WriteHeader(v.Status)
		return
	}
	maps.Copy(w.Header(), back.Header())
	w.WriteHeader(back.Code)
	_, _ = w.Write(back.Body.Bytes())
}

// TestRegression runs the tests of the rule set's authors, at the highest level.
func TestRegression(t *testing.T) {
	setup := filepath.Join(t.TempDir(), "setup.conf")
	require.NoError(t, os.WriteFile(setup, []byte(crstest.Setup), 0o600))
	o := &Options{Paranoia: 4, IncludeBefore: []string{setup}}
	require.NoError(t, o.Validate())
	plan, err := Prepare(o, Limits{Body: 128 << 10, Response: 512 << 10, ResponseTypes: []string{"text/html", "text/plain"}})
	require.NoError(t, err)
	engine, err := plan.Compile()
	require.NoError(t, err)
	defer engine.Close()
	cases, err := crstest.Cases()
	require.NoError(t, err)

	work := make(chan *crstest.Case)
	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		failed []string
	)
	for range 2 {
		tr := &trial{engine: engine}
		server := httptest.NewUnstartedServer(tr)
		server.Config.IdleTimeout = 100 * time.Millisecond
		server.Start()
		defer server.Close()
		group.Go(func() {
			for c := range work {
				if why := tr.run(server.Listener.Addr().String(), c); why != "" {
					mu.Lock()
					failed = append(failed, c.Name()+": "+why)
					mu.Unlock()
				}
			}
		})
	}
	for i := range cases {
		work <- &cases[i]
	}
	close(work)
	group.Wait()
	slices.Sort(failed)
	unexpected := 0
	for _, f := range failed {
		name, _, _ := strings.Cut(f, ":")
		if why, ok := unreachable[name]; ok {
			t.Logf("%s (%s)", f, why)
			continue
		}
		unexpected++
		t.Errorf("%s", f)
	}
	t.Logf("%d of %d cases pass", len(cases)-len(failed), len(cases))
	require.Len(t, unreachable, len(failed)-unexpected, "a case that is said not to reach the rules passes")
}

// run returns why a case fails, "" if it passes.
func (tr *trial) run(address string, c *crstest.Case) string {
	for i := range c.Stages {
		s := &c.Stages[i]
		tr.mu.Lock()
		tr.logs, tr.ids = nil, nil
		tr.mu.Unlock()
		status, err := send(address, s.Wire)
		tr.mu.Lock()
		ids, logs := tr.ids, tr.logs
		tr.mu.Unlock()
		if s.Expect.Error {
			if err == nil {
				return fmt.Sprintf("expected an error, got %d", status)
			}
			continue
		}
		if err != nil {
			return err.Error()
		}
		if s.Expect.Status != 0 && status != s.Expect.Status && !slices.Contains(ids, c.Rule) {
			return fmt.Sprintf("status %d instead of %d", status, s.Expect.Status)
		}
		for _, id := range s.Expect.Found {
			if !slices.Contains(ids, id) {
				return fmt.Sprintf("%d did not match (status %d): %v", id, status, ids)
			}
		}
		for _, id := range s.Expect.NotFound {
			if slices.Contains(ids, id) {
				return fmt.Sprintf("%d matched", id)
			}
		}
		if p := s.Expect.Match; p != nil && !slices.ContainsFunc(logs, p.MatchString) && (c.Rule != 922130 || !slices.Equal(ids, refused)) {
			return fmt.Sprintf("no line matches %s: %v", p, ids)
		}
		if p := s.Expect.NoMatch; p != nil && slices.ContainsFunc(logs, p.MatchString) {
			return fmt.Sprintf("a line matches %s", p)
		}
	}
	return ""
}

// send sends a request as it is and returns the status of the response.
func send(address string, wire []byte) (int, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := conn.Write(wire); err != nil {
		return 0, err
	}
	var status int
	head := make([]byte, 64)
	n, err := io.ReadAtLeast(conn, head, 12)
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(string(head[:n]), "HTTP/1.1 %d", &status); err != nil {
		if _, err := fmt.Sscanf(string(head[:n]), "HTTP/1.0 %d", &status); err != nil {
			return 0, fmt.Errorf("no status in %q", head[:n])
		}
	}
	_, _ = io.Copy(io.Discard, conn)
	return status, nil
}
