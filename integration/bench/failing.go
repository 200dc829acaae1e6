package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	faultReloads = 30
	faultClients = 2 // of each fault
	// mostGoroutines is what may be left over: connections that are kept.
	mostGoroutines = 20
)

// fault is a way for a backend to fail.
type fault struct {
	addr      string
	transport string // lines of the proxy's transport
	rules     string // lines of edge_breaker
	status    int    // that clients get; 0: a body that breaks off
	kind      string // in the metrics
}

// runFaults has backends fail in all ways while the config is loaded anew.
func runFaults(ctx context.Context, b *bench) error {
	var open []io.Closer
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	faults, err := startFaults(ctx, &open)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(faults))
	o := siteOptions{name: "edge"}
	for _, name := range names {
		f := faults[name]
		o.sites = append(o.sites, fmt.Sprintf("\tedge_breaker {\n%s%s\t}\n\treverse_proxy %s {\n\t\tlb_policy edge\n\t\ttransport http {\n\t\t\tkeepalive off\n%s\t\t}\n\t}\n",
			neverOpens, f.rules, f.addr, f.transport))
	}
	s, err := b.startSites(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.shortRound(ctx); err != nil { // what is there after requests, and once
		return err
	}
	before, err := s.admin.goroutines(ctx)
	if err != nil {
		return err
	}

	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		traffic              sync.WaitGroup
		seen                 = make([]atomic.Int64, len(names))
		dropped, otherwise   atomic.Int64
		accepted, rejected   int
		config, refusedSites = o.caddyfile(s.admin.addr(), s.addrs), ":1 {\n\tfile_server {\n\t\tprecompressed nonsense\n\t}\n}\n"
	)
	for i, name := range names {
		for range faultClients {
			traffic.Go(func() {
				for running.Err() == nil {
					switch met, err := faults[name].meet(s.addrs[i]); {
					case err != nil:
						dropped.Add(1)
					case met:
						seen[i].Add(1)
					default:
						otherwise.Add(1)
					}
				}
			})
		}
	}
	for i := range faultReloads {
		text := config
		if i%3 == 2 {
			text += refusedSites
		}
		ok, err := s.admin.load(ctx, text)
		switch {
		case err != nil && i%3 == 2, err == nil && !ok:
			rejected++
		case err != nil:
			return err
		default:
			accepted++
		}
		if !sleepUntil(ctx, time.Now().Add(200*time.Millisecond)) {
			break
		}
	}
	cancel()
	traffic.Wait()
	return b.judgeFaults(ctx, s, faults, names, seen, faultTotals{before, accepted, rejected, dropped.Load(), otherwise.Load()})
}

// faultTotals are what was counted beside the faults.
type faultTotals struct {
	goroutines         int // before
	accepted, rejected int // reloads
	dropped, otherwise int64
}

// judgeFaults compares what clients saw with what the edge counted.
func (b *bench) judgeFaults(ctx context.Context, s *sites, faults map[string]*fault, names []string, seen []atomic.Int64, totals faultTotals) error {
	var wrong, words []string
	var sum int64
	for i, name := range names {
		f := faults[name]
		kinds, err := s.admin.breakerErrors(ctx, f.addr)
		if err != nil {
			return err
		}
		n := seen[i].Load()
		// Those whose connection was dropped by a reload may have been counted too.
		if missed := kinds[f.kind] - n; missed < 0 || missed > totals.dropped || n == 0 || len(kinds) != 1 {
			wrong = append(wrong, fmt.Sprintf("%s: %d seen, counted %v", name, n, kinds))
		}
		sum += n
		words = append(words, fmt.Sprintf("%s %d %s", name, n, f.kind))
	}
	measured := fmt.Sprintf("%d of %d right", len(names)-len(wrong), len(names))
	b.table.add(finding{
		what: "counters", measured: measured, target: "all", reached: len(wrong) == 0 && totals.otherwise == 0,
		beside: strings.Join(append(wrong, strings.Join(words, ", "), fmt.Sprintf("%d dropped by reloads, %d answered otherwise", totals.dropped, totals.otherwise)), "; "),
	})
	output, err := os.ReadFile(s.log)
	if err != nil {
		return err
	}
	panics := len(panicked.FindAll(output, -1))
	b.table.add(finding{
		what: "panics", measured: fmt.Sprint(panics), target: "none", reached: panics == 0,
		beside: fmt.Sprintf("%d faults, %d reloads accepted, %d rejected", sum, totals.accepted, totals.rejected),
	})
	var after int
	for end := time.Now().Add(15 * time.Second); ; {
		if after, err = s.admin.goroutines(ctx); err != nil {
			return err
		}
		if after <= totals.goroutines || time.Now().After(end) {
			break
		}
		time.Sleep(pollPause)
	}
	b.table.add(finding{
		what: "goroutine growth", measured: fmt.Sprintf("%+d", after-totals.goroutines), target: fmt.Sprintf("<= %d", mostGoroutines),
		reached: after-totals.goroutines <= mostGoroutines, beside: fmt.Sprintf("before %d, after %d", totals.goroutines, after),
	})
	return nil
}

var panicked = regexp.MustCompile(`(?m)^panic: |^fatal error: |panic serving|runtime error: |aborting: `)

// shortRound has each site serve one request.
func (s *sites) shortRound(ctx context.Context) error {
	for _, addr := range s.addrs {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
		if err != nil {
			return err
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body) // it may break off
		_ = resp.Body.Close()
	}
	return nil
}

// meet sends a request that meets the fault, over a connection of its own. It
// returns an error when there was no answer.
func (f *fault) meet(addr string) (bool, error) {
	client := &http.Client{Timeout: startLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/")
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	if f.status == 0 {
		return resp.StatusCode == http.StatusOK && err != nil, nil
	}
	return resp.StatusCode == f.status, err
}

// startFaults starts a backend for each fault.
func startFaults(ctx context.Context, open *[]io.Closer) (map[string]*fault, error) {
	listen := func(serve func(net.Conn)) (string, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		*open = append(*open, l)
		go acceptAll(l, serve)
		return l.Addr().String(), nil
	}
	const deadline = "\t\theader_timeout 200ms\n"
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	half := head + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 10_000)
	faults := map[string]*fault{
		"hang":        {status: http.StatusGatewayTimeout, kind: "timeout", rules: deadline},
		"slow header": {status: http.StatusGatewayTimeout, kind: "timeout", rules: deadline},
		"reset":       {status: http.StatusBadGateway, kind: "reset"},
		"reset body":  {kind: "reset"},
		"cut body":    {kind: "reset"},
	}
	for name, serve := range map[string]func(net.Conn){
		"hang":        untilLeft,
		"slow header": func(c net.Conn) { _, _ = io.WriteString(c, head); untilLeft(c) },
		"reset":       reset,
		"reset body":  func(c net.Conn) { _, _ = io.WriteString(c, half); reset(c) },
		"cut body":    func(c net.Conn) { _, _ = io.WriteString(c, half) },
	} {
		var err error
		if faults[name].addr, err = listen(serve); err != nil {
			return nil, err
		}
	}
	dead, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	full, err := fullListener(ctx, open)
	if err != nil {
		return nil, err
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it is to be refused
	secure.StartTLS()
	*open = append(*open, closer(plain.Close), closer(secure.Close))
	const bad, useTLS = http.StatusBadGateway, "\t\t\ttls\n"
	maps.Copy(faults, map[string]*fault{
		"dead port":    {addr: dead[0], status: bad, kind: "dial"},
		"dial timeout": {addr: full, status: bad, kind: "dial", transport: "\t\t\tdial_timeout 100ms\n"},
		"no TLS":       {addr: plain.Listener.Addr().String(), status: bad, kind: "tls", transport: useTLS},
		"certificate":  {addr: secure.Listener.Addr().String(), status: bad, kind: "tls", transport: useTLS},
	})
	return faults, nil
}

// closer makes a function an io.Closer.
type closer func()

// Close implements io.Closer.
func (c closer) Close() error {
	c()
	return nil
}

// acceptAll serves each connection once its request's header has come.
func acceptAll(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			// A request of the benchmarks fits into one packet.
			if _, err := conn.Read(make([]byte, 4096)); err == nil {
				serve(conn)
			}
		}()
	}
}

// untilLeft waits until the peer leaves.
func untilLeft(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// reset has the close that follows reset the connection, once what was written has
// had the time to arrive: a reset overtakes it.
func reset(conn net.Conn) {
	time.Sleep(10 * time.Millisecond)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// fullListener returns the address of a listener whose queue is full, so that the
// kernel answers no attempt to connect.
func fullListener(ctx context.Context, open *[]io.Closer) (string, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	*open = append(*open, closer(func() { _ = syscall.Close(fd) }))
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	if err := syscall.Listen(fd, 0); err != nil {
		return "", err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", err
	}
	bound, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return "", errors.New("the listener has no IPv4 address")
	}
	addr := fmt.Sprintf("127.0.0.1:%d", bound.Port)
	dialer := net.Dialer{Timeout: 50 * time.Millisecond}
	for unanswered := 0; unanswered < 3; {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			unanswered++
			continue
		}
		*open = append(*open, conn)
		unanswered = 0
	}
	return addr, ctx.Err()
}
