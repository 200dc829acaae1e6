package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// caller sends requests as a browser does: over connections that are kept, and that are
// replaced when the server has closed them.
type caller struct {
	client *http.Client
	base   string
	next   atomic.Int64 // number of a request
}

// caller returns one of a site.
func (t *tunnel) caller(site int, patience time.Duration) *caller {
	_, port, _ := strings.Cut(t.addrs[site], ":")
	const idle = 256
	return &caller{base: "https://localhost:" + port, client: &http.Client{
		Timeout: patience, Transport: &http.Transport{TLSClientConfig: t.tls.Clone(), MaxIdleConnsPerHost: idle},
	}}
}

// close ends its connections.
func (c *caller) close() { c.client.CloseIdleConnections() }

// answer is what became of a request.
type answer struct {
	method, id string
	status     int // 0: err tells why
	err        error
	cut        bool // the response has begun, and broken off
	start      time.Time
	took       time.Duration
	size       int64
}

// ok reports whether the response came whole.
func (a *answer) ok() bool { return a.err == nil && a.status == http.StatusOK }

// String tells what went wrong.
func (a *answer) String() string {
	if a.cut {
		return a.method + " cut off after its header"
	}
	if a.err != nil {
		return fmt.Sprintf("%s: %v", a.method, a.err)
	}
	return fmt.Sprintf("%s: %d", a.method, a.status)
}

// call sends a request, with a short body where that is usual, and reads the response.
func (c *caller) call(ctx context.Context, method, path string) (a answer) {
	a = answer{method: method, id: fmt.Sprintf("%s-%d", method, c.next.Add(1)), start: time.Now()}
	defer func() { a.took = time.Since(a.start) }()
	var body io.Reader
	if method == http.MethodPost || method == http.MethodPut {
		body = strings.NewReader("what is to be done")
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		a.err = err
		return a
	}
	req.Header.Set(idHeader, a.id)
	resp, err := c.client.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	a.size, a.err = io.Copy(io.Discard, resp.Body)
	a.status, a.cut = resp.StatusCode, a.err != nil
	return a
}

// volley sends n requests of each method at once, and returns where the answers will be.
func (c *caller) volley(ctx context.Context, path string, n int, methods ...string) <-chan []answer {
	all := make(chan []answer, 1)
	answers := make([]answer, n*len(methods))
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = c.call(ctx, methods[i%len(methods)], path) })
	}
	go func() {
		wg.Wait()
		all <- answers
	}()
	return all
}

// traffic is what callers that send one request after the other came to.
type traffic struct {
	mu       sync.Mutex
	done     map[string]int // by method
	failures map[string]int // by method and what went wrong
	failed   int
	cut      int // of those, after the header of the response
	twice    int // executions beyond the first of a request that may not be sent twice
	slowest  time.Duration
}

func newTraffic() *traffic {
	return &traffic{done: make(map[string]int), failures: make(map[string]int)}
}

// flowing sends requests with n callers until stop is called, which returns what they
// came to.
func (c *caller) flowing(ctx context.Context, n int, path string, books *ledger, methods ...string) (stop func() *traffic) {
	var (
		t            = newTraffic()
		running, end = context.WithCancel(ctx)
		wg           sync.WaitGroup
	)
	for i := range n {
		wg.Go(func() {
			for k := i; running.Err() == nil; k++ {
				a := c.call(ctx, methods[k%len(methods)], path)
				t.add(&a, books)
			}
		})
	}
	return func() *traffic {
		end()
		wg.Wait()
		return t
	}
}

// add notes an answer.
func (t *traffic) add(a *answer, books *ledger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done[a.method]++
	t.slowest = max(t.slowest, a.took)
	if !a.ok() {
		t.failed++
		if a.cut {
			t.cut++
		}
		t.failures[a.String()]++
	}
	if books != nil && a.method != http.MethodGet {
		t.twice += max(books.executed(a.id)-1, 0)
	}
}

// merge adds what others came to.
func (t *traffic) merge(o *traffic) {
	for k, n := range o.done {
		t.done[k] += n
	}
	for k, n := range o.failures {
		t.failures[k] += n
	}
	t.failed, t.cut, t.twice, t.slowest = t.failed+o.failed, t.cut+o.cut, t.twice+o.twice, max(t.slowest, o.slowest)
}

// String tells how many requests there were, and what went wrong.
func (t *traffic) String() string {
	var words []string
	for _, method := range slices.Sorted(maps.Keys(t.done)) {
		words = append(words, fmt.Sprintf("%d %s", t.done[method], method))
	}
	const most = 4 // kinds of failures
	failures := slices.Sorted(maps.Keys(t.failures))
	for _, f := range failures[:min(most, len(failures))] {
		words = append(words, fmt.Sprintf("%d times %s", t.failures[f], f))
	}
	return strings.Join(words, ", ")
}
