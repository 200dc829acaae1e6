package edgetunnel

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgetunnel/agent"
	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/eventtest"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// TestNoAgent answers at once, and waits if it is told to.
func TestNoAgent(t *testing.T) {
	e := newEdge(t)
	e.load()
	resp, err := client(t).Get(e.url() + "/")
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, "5", resp.Header.Get("Retry-After"))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.NoError(t, resp.Body.Close())

	e.source = "wait 30s"
	e.load()
	answered := make(chan string)
	go func() {
		_, body, err := e.try("/waited")
		answered <- fmt.Sprint(body, err)
	}()
	e.connect("a", http.HandlerFunc(echo))
	require.Contains(t, <-answered, "GET /waited")

	e.source = "wait 10ms"
	peekHub().Drain("a", 0)
	e.serving(0)
	e.load()
	require.Equal(t, 503, first(e.get("/")))
}

// TestSessionsSurviveReloads loads configs under load, good ones and rejected ones.
func TestSessionsSurviveReloads(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(echo))
	e.serving(1)
	since := peekHub().All()[0].Since
	stop := make(chan struct{})
	var failed, asked atomic.Int64
	var all sync.WaitGroup
	c := client(t)
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Post(e.url()+"/", "text/plain", strings.NewReader("x"))
				if err != nil { // the listener of the config before may drop a connection
					continue
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				asked.Add(1)
				if err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(body), "x") {
					failed.Add(1)
				}
			}
		})
	}
	for i := range 10 {
		e.before = fmt.Sprintf("header X-Load %d", i)
		e.load()
		require.Error(t, reloadtest.Load(t, strings.Replace(adapt(t, e.caddyfile()), `":`+e.port, `"192.0.2.1:1`, 1)))
	}
	require.Eventually(t, func() bool { return asked.Load() > 100 }, patience, time.Millisecond)
	close(stop)
	all.Wait()
	require.Zero(t, failed.Load())
	require.Equal(t, since, peekHub().All()[0].Since, "it is the same session")
}

// TestTokensAreCheckedAfterReloads takes a token away, and changes one.
func TestTokensAreCheckedAfterReloads(t *testing.T) {
	e := newEdge(t)
	rotated := e.tunnel + "\ntoken next " + hashOf(t, "next") + " app"
	e.tunnel = rotated
	e.load()
	old := e.session(mux.Config{}, wire.HeaderAgent+": old")
	kept := e.session(mux.Config{}, wire.HeaderAgent+": new", "Authorization: Bearer next.next")
	e.tunnel = "token next " + hashOf(t, "next") + " app"
	require.Error(t, reloadtest.Load(t, strings.Replace(adapt(t, e.caddyfile()), `":`+e.port, `"192.0.2.1:1`, 1)))
	require.NoError(t, old.Err(), "the config was rejected")
	e.load()
	<-old.Done()
	require.NoError(t, kept.Err())
	require.Len(t, peekHub().All(), 1)

	e.tunnel = "token next " + hashOf(t, "changed") + " app"
	e.load()
	<-kept.Done()

	// Other backends are no reason to leave.
	last := e.session(mux.Config{}, wire.HeaderAgent+": last", "Authorization: Bearer next.changed")
	tellOf(t, last, "app", "api")
	e.serving(1)
	require.Empty(t, peekHub().Routes("default", "api"))
	e.tunnel = "token next " + hashOf(t, "changed") + " api"
	e.load()
	e.serving(0)
	require.Len(t, peekHub().Routes("default", "api"), 1)
	require.NoError(t, last.Err())

	// What a certificate must have is checked, too.
	e.tunnel += "\nclient_certificate"
	e.load()
	<-last.Done()
}

// tellOf has an agent that was written by hand tell of its backends.
func tellOf(t *testing.T, s *mux.Session, names ...string) {
	t.Helper()
	m := wire.Message{}
	for _, name := range names {
		m.Backends = append(m.Backends, wire.BackendState{Name: name, Weight: 1})
	}
	require.NoError(t, s.SendControl(m.Encode()))
}

// TestOrdersOutliveConfigs loads a config without a tunnel in between.
func TestOrdersOutliveConfigs(t *testing.T) {
	e := newEdge(t)
	e.load()
	s := e.session(mux.Config{})
	require.Equal(t, 1, first(peekHub().Revoke("home")))
	<-s.Done()
	require.NoError(t, load(t, "{\n\tauto_https off\n}\nhttp://127.0.0.1:"+e.port+" {\n\trespond ok\n}"))
	require.Nil(t, peekHub())
	e.load()
	require.Equal(t, 403, e.ask().StatusCode)
}

// TestHandlerGoesProxyStays drains the sessions as well.
func TestHandlerGoesProxyStays(t *testing.T) {
	e := newEdge(t)
	e.load()
	_, answered, finish := e.held("a")
	config := e.caddyfile()
	begin := strings.Index(config, "\tedge_tunnel {")
	end := strings.Index(config[begin:], "\t}\n") + begin + len("\t}\n")
	loaded := make(chan error)
	go func() { loaded <- reloadtest.Load(t, adapt(t, config[:begin]+config[end:])) }() //nolint:testifylint // what it requires holds
	e.serving(0)
	finish()
	require.Equal(t, "finished<nil>", <-answered)
	require.NoError(t, <-loaded)
	require.Eventually(t, func() bool { return len(peekHub().All()) == 0 }, patience, time.Millisecond)
}

// TestHandlersHaveTheirOwnAgents has two sites with a backend of the same name.
func TestHandlersHaveTheirOwnAgents(t *testing.T) {
	one, two := newEdge(t), newEdge(t)
	site := func(e *edge, name string) string {
		config := strings.SplitN(e.caddyfile(), "}\n", 2)[1]
		config = strings.Replace(config, "edge_tunnel {", "edge_tunnel {\nname "+name, 1)
		return strings.Replace(config, "dynamic edge_tunnel app {", "dynamic edge_tunnel app {\nname "+name, 1)
	}
	require.NoError(t, load(t, "{\n\tauto_https off\n}\n"+site(one, "one")+site(two, "two")))
	one.connect("a", text("one"))
	require.Equal(t, "200", one.await("/", 200)[:3])
	require.Equal(t, 503, first(two.get("/")))
	two.connect("a", text("two"))
	require.Contains(t, two.await("/", 200), "two")
	require.Equal(t, "one", second(one.get("/")))
	require.Equal(t, "a.app.one:1", peekHub().Routes("one", "app")[0].Address)
}

// TestDrainingNameIsFree has an agent come back while its session before has a request.
func TestDrainingNameIsFree(t *testing.T) {
	e := newEdge(t)
	e.load()
	old, answered, finish := e.held("a")
	drained := make(chan bool)
	go func() { drained <- old.Drain(patience) }()
	e.serving(0)
	e.connect("a", text("new"))
	require.Contains(t, e.await("/", 200), "new")
	finish()
	require.Equal(t, "finished<nil>", <-answered)
	require.True(t, <-drained)
}

// TestTwoNamesOfOneEdge has an agent connect to the same edge twice: one of the links has to
// wait, and nothing is broken off.
func TestTwoNamesOfOneEdge(t *testing.T) {
	e := newEdge(t)
	e.load()
	backends := new(agent.Backends)
	stop, err := backends.Forward("app", agent.Forward{To: serve(t, text("ok"))})
	require.NoError(t, err)
	t.Cleanup(stop)
	e.start(agent.Config{Name: "a", Edges: []string{e.url(), e.url() + "/other"}}, backends)
	e.serving(1)
	since := peekHub().All()[0].Since
	for range 100 {
		require.Equal(t, 200, first(e.get("/")))
	}
	require.Equal(t, since, peekHub().All()[0].Since)
}

// TestLastHandlerGoes drains the sessions: what is under way is finished.
func TestLastHandlerGoes(t *testing.T) {
	e := newEdge(t)
	e.load()
	_, answered, finish := e.held("a")
	h := peekHub()
	loaded := make(chan error)
	config := adapt(t, "{\n\tauto_https off\n\tgrace_period 1s\n}\nhttp://127.0.0.1:"+e.port+" {\n\trespond ok\n}")
	go func() { loaded <- reloadtest.Load(t, config) }() // the server waits for its requests
	select {
	case <-answered:
		require.Fail(t, "answered before the backend")
	case err := <-loaded:
		require.NoError(t, err)
		finish()
	case <-time.After(100 * time.Millisecond):
		finish()
		require.NoError(t, <-loaded)
	}
	require.Equal(t, "finished<nil>", <-answered)
	require.Eventually(t, func() bool { return len(h.All()) == 0 }, patience, time.Millisecond)
}

// TestRevoke closes the sessions of a token at once.
func TestRevoke(t *testing.T) {
	e := newEdge(t)
	e.load()
	s := e.session(mux.Config{})
	require.Equal(t, 1, first(peekHub().Revoke("home")))
	<-s.Done()
	resp, text, _, _ := e.dial()
	require.Equal(t, 403, resp.StatusCode)
	require.Equal(t, "the token was revoked", text)
	e.load()
	resp = e.ask()
	require.Equal(t, 403, resp.StatusCode, "it is still after a reload")
	require.True(t, peekHub().Allow("home"))
	require.False(t, peekHub().Allow("home"))
	e.session(mux.Config{})
}

// TestDrainAgent drains from the edge: requests under way are finished, new ones go
// elsewhere, and the agent stays away until it may come back.
func TestDrainAgent(t *testing.T) {
	e := newEdge(t)
	e.load()
	_, answered, finish := e.held("a")
	require.False(t, peekHub().Drain("nobody", time.Minute))
	require.True(t, peekHub().Drain("a", time.Minute))
	e.serving(0)
	require.Equal(t, 503, first(e.get("/")))
	require.Equal(t, []string{"a"}, peekHub().Held())
	finish()
	require.Equal(t, "finished<nil>", <-answered)
	require.Eventually(t, func() bool { return len(peekHub().All()) == 0 }, patience, time.Millisecond)
	resp, text, _, _ := e.dial()
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, "the agent is kept away", text)
	require.True(t, peekHub().Resume("a"))
	e.session(mux.Config{})
}

// TestDrainOfTheAgent ends an agent under load: nobody sees an error.
func TestDrainOfTheAgent(t *testing.T) {
	e := newEdge(t)
	e.proxy = "lb_retries 3\nlb_policy round_robin"
	e.load()
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(5 * time.Millisecond): // something to wait for
		case <-r.Context().Done():
		}
		echo(w, r)
	})
	one := e.connect("one", slow)
	e.connect("two", slow)
	e.serving(2)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var asked atomic.Int64
	c := client(t)
	for i := range 16 {
		all.Go(func() {
			method := []string{"GET", "POST", "PUT", "DELETE"}[i%4]
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Do(request(t, method, e.url()+"/", strings.NewReader("x")))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				asked.Add(1)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %d %s %v", method, resp.StatusCode, body, err)
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return asked.Load() > 200 }, patience, time.Millisecond)
	require.True(t, one.Drain(patience), "all were finished")
	e.serving(1)
	now := asked.Load()
	require.Eventually(t, func() bool { return asked.Load() > now+100 }, patience, time.Millisecond)
	close(stop)
	all.Wait()
}

// TestReconnects ends the edge, which comes back.
func TestReconnects(t *testing.T) {
	e := newEdge(t)
	e.load()
	e.connect("a", http.HandlerFunc(echo))
	e.serving(1)
	before := peekHub()
	reloadtest.Stop(t)
	require.Eventually(t, func() bool { return len(before.All()) == 0 }, patience, time.Millisecond)
	e.load()
	e.await("/", 200)
}

// TestSameInstanceReplacesItself connects again before the edge has noticed that the
// connection before is gone.
func TestSameInstanceReplacesItself(t *testing.T) {
	e := newEdge(t)
	e.load()
	before := e.session(mux.Config{})
	after := e.session(mux.Config{})
	<-before.Done()
	require.NoError(t, after.Err())
	require.Len(t, peekHub().All(), 1)
}

func TestHealth(t *testing.T) {
	e := newEdge(t)
	e.load()
	var ill atomic.Bool
	e.connect("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && ill.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}), func(f *agent.Forward) {
		f.HealthURI, f.HealthInterval, f.HealthFails = "/health", 10*time.Millisecond, 2
	})
	e.serving(1)
	ill.Store(true)
	e.serving(0)
	require.Equal(t, 503, first(e.get("/")))
	require.True(t, peekHub().All()[0].Backends()[0].Unhealthy)
	ill.Store(false)
	e.serving(1)
	require.Equal(t, 200, first(e.get("/")))
}

// TestDataConns has an agent with more connections, which go with its session.
func TestDataConns(t *testing.T) {
	e := newEdge(t)
	e.load()
	backends := new(agent.Backends)
	stop, err := backends.Forward("app", agent.Forward{To: serve(t, http.HandlerFunc(echo))})
	require.NoError(t, err)
	t.Cleanup(stop)
	e.start(agent.Config{Name: "a", DataConns: 3}, backends)
	e.serving(1)
	a := peekHub().All()[0]
	require.Eventually(t, func() bool { return a.Lanes() == 3 }, patience, time.Millisecond)
	require.Equal(t, 200, first(e.get("/")))
	peekHub().Revoke("home")
	require.Eventually(t, func() bool { return a.Lanes() == 0 }, patience, time.Millisecond)
}

func TestEvents(t *testing.T) {
	e := newEdge(t)
	config := strings.Replace(adapt(t, e.caddyfile()), `"apps":{`, `"apps":{"events":{"subscriptions":[{"events":["edge_tunnel_connected","edge_tunnel_lost","edge_tunnel_drained"],"handlers":[{"handler":"`+eventtest.Handler+`"}]}]},`, 1)
	require.NoError(t, reloadtest.Load(t, config))
	s := e.session(mux.Config{})
	require.Eventually(t, func() bool { return len(peekHub().All()) == 1 }, patience, time.Millisecond)
	remote := peekHub().All()[0].Remote
	require.NoError(t, s.Close())
	eventtest.Require(t, "edge_tunnel_connected map[agent:a client:"+remote+" token:home]", "edge_tunnel_lost map[agent:a reason:lost token:home]")
	s = e.session(mux.Config{}, wire.HeaderAgent+": b")
	remote = peekHub().All()[0].Remote
	peekHub().Drain("b", 0)
	<-s.Done()
	eventtest.Require(t, "edge_tunnel_connected map[agent:b client:"+remote+" token:home]", "edge_tunnel_drained map[agent:b reason:drained token:home]")
}
