package agent

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// connectTimeout is how long a connection may take until it is a session.
const connectTimeout = 10 * time.Second

// refusedError is that of an edge which answered, but not as it was hoped.
type refusedError struct {
	status int
	text   string
	wait   time.Duration // by its Retry-After
}

func (e refusedError) Error() string {
	return fmt.Sprintf("the edge answered with status %d: %s", e.status, e.text)
}

// waitOf is how long to wait at least after an error.
func waitOf(err error) time.Duration {
	var refused refusedError
	if !errors.As(err, &refused) {
		return 0
	}
	const unwilling = 5 * time.Second // an edge that is asked at once will say the same
	if refused.status == http.StatusConflict || refused.status >= 500 {
		return refused.wait
	}
	return max(refused.wait, unwilling)
}

// connect opens a session. Errors never show the token.
func (l *link) connect(ctx context.Context, lane bool) (*mux.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	token, err := l.agent.config.Token()
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	if _, _, err := wire.CutToken(token); err != nil {
		return nil, err
	}
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	heartbeat, in, err := l.upgrade(conn, strings.TrimSpace(token), lane)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	mux.Tune(conn)
	config := mux.Config{Accept: l.agent.accept, MaxStreams: maxStreams, Memory: memory, Heartbeat: heartbeat}
	if !lane {
		config.Control = l.control
	}
	return mux.New(conn, in, config), nil
}

const (
	// maxStreams bounds the requests of an edge. Backends have bounds of their own.
	maxStreams = 16 << 10
	// memory bounds what is held of the bodies that an edge sends.
	memory = 1 << 30
)

// heartbeatOf is the edge's interval, from its header field.
func heartbeatOf(text string) time.Duration {
	ms, err := strconv.Atoi(text)
	if err != nil {
		return 0 // the default
	}
	return min(max(time.Duration(ms)*time.Millisecond, wire.LeastHeartbeat), wire.MostHeartbeat)
}

// dial connects to the edge, with TLS unless its URL is http.
func (l *link) dial(ctx context.Context) (net.Conn, error) {
	port := l.edge.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[l.edge.Scheme]
	}
	address := net.JoinHostPort(l.edge.Hostname(), port)
	if l.edge.Scheme == "http" {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	config := new(tls.Config)
	if l.agent.config.TLS != nil {
		config = l.agent.config.TLS.Clone()
	}
	config.NextProtos = []string{"http/1.1"}
	if config.ServerName == "" {
		config.ServerName = l.edge.Hostname()
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
}

// upgrade asks the edge for a session. It returns the edge's heartbeat, and what reads on.
func (l *link) upgrade(conn net.Conn, token string, lane bool) (time.Duration, *bufio.Reader, error) {
	path := l.edge.EscapedPath()
	if path == "" {
		path = "/"
	}
	names := make([]string, 0, 1)
	for _, s := range l.agent.backends.states() {
		names = append(names, s.Name)
	}
	var b strings.Builder
	field := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", path)
	field("Host", l.edge.Host)
	field("Connection", "Upgrade")
	field("Upgrade", wire.Protocol)
	field("Authorization", "Bearer "+token)
	field("User-Agent", "caddy-edge-agent")
	field(wire.HeaderVersion, wire.Version.String())
	field(wire.HeaderAgent, l.agent.config.Name)
	field(wire.HeaderInstance, l.instance)
	if len(names) > 0 {
		field(wire.HeaderBackends, strings.Join(names, ","))
	}
	if lane {
		field(wire.HeaderLane, "1")
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return 0, nil, fmt.Errorf("asking the edge: %w", err)
	}
	const most = 64 << 10
	limit := &io.LimitedReader{R: conn, N: most}
	in := bufio.NewReader(limit)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the edge's answer: %w", err)
	}
	defer resp.Body.Close() // of a 101 it is empty
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return 0, nil, refusal(resp)
	}
	if !slices.Contains(resp.Header.Values("Upgrade"), wire.Protocol) {
		return 0, nil, errors.New("the edge switched to another protocol")
	}
	if _, err := wire.Negotiate(wire.Version, resp.Header.Get(wire.HeaderVersion)); err != nil {
		return 0, nil, err
	}
	return heartbeatOf(resp.Header.Get(wire.HeaderHeartbeat)), in, nil
}

// refusal reads why the edge does not want the agent.
func refusal(resp *http.Response) error {
	const most = 300
	text, _ := io.ReadAll(io.LimitReader(resp.Body, most)) // what there is will do
	e := refusedError{status: resp.StatusCode, text: strings.Join(strings.Fields(string(text)), " ")}
	if e.text == "" {
		e.text = http.StatusText(resp.StatusCode)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		e.wait = min(time.Duration(s)*time.Second, 10*time.Minute)
	}
	return e
}
