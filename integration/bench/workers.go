package main

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// workers is an origin of fixed capacity: a queue in the order of arrival, without
// an end, in front of some workers that take equally long for each request. It
// reckons when a request is done instead of working, so that its capacity is exact
// and costs no processor time. It does not notice that a client gave up, as many
// origins don't: the work is done all the same.
type workers struct {
	addr    string
	service time.Duration
	server  *http.Server

	mu   sync.Mutex
	free []time.Time // when each worker has done all that it was given
}

// startWorkers starts n workers that take that long for a request.
func startWorkers(n int, service time.Duration) (*workers, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &workers{addr: l.Addr().String(), service: service, free: make([]time.Time, n)}
	w.server = &http.Server{Handler: w, ReadHeaderTimeout: time.Minute}
	go func() { _ = w.server.Serve(l) }() // ends with close
	return w, nil
}

// close ends the origin and its connections.
func (w *workers) close() { _ = w.server.Close() }

// capacity returns how many requests per second n workers do.
func (w *workers) capacity(n int) float64 { return float64(n) / w.service.Seconds() }

// resize changes the number of workers. Those who leave finish what they were
// given.
func (w *workers) resize(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	free := make([]time.Time, n)
	copy(free, w.free)
	w.free = free
}

// take gives a request to the worker who is free first, and returns when it is done.
func (w *workers) take(now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := slices.MinFunc(w.free, time.Time.Compare)
	i := slices.Index(w.free, first)
	if first.Before(now) {
		first = now
	}
	w.free[i] = first.Add(w.service)
	return w.free[i]
}

// ServeHTTP implements http.Handler.
func (w *workers) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	if !sleepUntil(req.Context(), w.take(time.Now())) {
		return
	}
	_, _ = rw.Write([]byte("done\n"))
}
