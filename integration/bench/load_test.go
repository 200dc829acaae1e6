package main

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func startTestOrigin(t *testing.T) *origin {
	t.Helper()
	o, err := startOrigin()
	require.NoError(t, err)
	t.Cleanup(o.close)
	return o
}

func TestLoadSendsEachRequestOnce(t *testing.T) {
	o := startTestOrigin(t)
	path, fetches := o.page(reply{size: 100})
	var (
		mu   sync.Mutex
		seen = make(map[int64]int)
	)
	l := load{
		addr: o.addr, clients: 4, requests: 250,
		make: func(i int64, r *request) {
			mu.Lock()
			seen[i]++
			mu.Unlock()
			r.path = path
		},
	}
	done, err := l.run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 250, done.requests)
	require.EqualValues(t, 250, fetches.Load())
	require.Len(t, seen, 250)
	require.Positive(t, done.longest)
}

func TestLoadEndsByTime(t *testing.T) {
	o := startTestOrigin(t)
	path, _ := o.page(reply{delay: 10 * time.Millisecond})
	l := load{addr: o.addr, clients: 2, length: 50 * time.Millisecond, make: func(_ int64, r *request) { r.path = path }}
	done, err := l.run(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, done.time, 50*time.Millisecond)
	require.Positive(t, done.requests)
}

func TestLoadReportsErrors(t *testing.T) {
	o := startTestOrigin(t)
	path, _ := o.page(reply{status: http.StatusNotFound})
	wrong := errors.New("wrong status")
	l := load{
		addr: o.addr, clients: 1, requests: 10, make: func(_ int64, r *request) { r.path = path },
		check: func(_ int64, head *responseHead) error {
			if head.status != http.StatusOK {
				return wrong
			}
			return nil
		},
	}
	_, err := l.run(t.Context())
	require.ErrorIs(t, err, wrong)
	require.ErrorContains(t, err, path)
}

func TestLoadHasADeadline(t *testing.T) {
	o := startTestOrigin(t)
	path, _ := o.page(reply{delay: time.Hour})
	l := load{addr: o.addr, clients: 1, requests: 1, limit: 50 * time.Millisecond, make: func(_ int64, r *request) { r.path = path }}
	_, err := l.run(t.Context())
	require.ErrorContains(t, err, "timeout")
}

func TestBurst(t *testing.T) {
	o := startTestOrigin(t)
	whole, fetches := o.page(reply{size: 200_000})
	other, _ := o.page(reply{status: http.StatusTeapot, size: 10})
	b := burst{addr: o.addr, clients: 5, limit: time.Minute, make: func(i int, r *request) {
		if r.path = whole; i == 0 {
			r.path = other
		}
	}}
	got, err := b.run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, got.whole(http.StatusOK, 200_000))
	require.Equal(t, 1, got.whole(http.StatusTeapot, 10))
	require.Zero(t, got.whole(http.StatusOK, 10))
	require.EqualValues(t, 4, fetches.Load())
	require.Positive(t, got.last)
}

func TestAtomicMax(t *testing.T) {
	var a atomic.Int64
	for _, v := range []int64{3, 7, 5} {
		atomicMax(&a, v)
	}
	require.EqualValues(t, 7, a.Load())
}
