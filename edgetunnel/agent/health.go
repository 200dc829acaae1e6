package agent

import (
	"context"
	"io"
	"net/http"
	"time"
)

// check asks a backend regularly whether it is well, until ctx ends. It counts as well
// until it has failed.
func (f *forwarder) check(ctx context.Context, healthy func(bool)) {
	ticker := time.NewTicker(f.HealthInterval)
	defer ticker.Stop()
	for failures := 0; ; {
		if f.well(ctx) {
			failures = 0
		} else {
			failures++
		}
		if ctx.Err() != nil {
			return
		}
		healthy(failures < f.HealthFails)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// well asks once.
func (f *forwarder) well(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, f.HealthTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.to.scheme+"://"+f.to.host+f.HealthURI, nil)
	if err != nil {
		return false
	}
	if f.Host != "" {
		r.Host = f.Host
	}
	resp, err := f.transport.RoundTrip(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	const most = 64 << 10
	_, _ = io.CopyN(io.Discard, resp.Body, most) // so that the connection can be kept
	return resp.StatusCode >= 200 && resp.StatusCode < 400
}
