package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	allOpenWait = "\t\tlb_try_duration 3s\n"
	mostAllOpen = 2 * time.Millisecond
)

// runAllOpen measures how long a refusal takes while the proxy would wait for 3 s.
func runAllOpen(ctx context.Context, b *bench) error {
	requests, waits := 3_000, 3
	if b.short {
		requests, waits = 1_000, 1
	}
	pool, err := startBackends(3)
	if err != nil {
		return err
	}
	defer pool.close()
	cached, path := "\tedge_cache {\n\t\tstale_on_error 1h\n\t}\n", "/"
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		breakerSite(pool, "", "", allOpenWait), cached + breakerSite(pool, "", "", allOpenWait+"\t\theader_down Cache-Control max-age=1\n"),
		plainSite(pool, rampChecks+allOpenWait),
	}})
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := getOnce(ctx, s.addrs[1], &request{path: path}, startLimit); err != nil { // is stored
		return err
	}
	for _, p := range pool {
		if err := s.admin.force(ctx, p.addr, "open"); err != nil {
			return err
		}
		p.sick.Store(true)
	}
	time.Sleep(1100 * time.Millisecond) // the copy gets stale, the checks see it

	refused, err := timeRequests(ctx, s.addrs[0], path, requests, http.StatusServiceUnavailable)
	if err != nil {
		return err
	}
	if err := checkRefusal(ctx, s.addrs[0]); err != nil {
		return err
	}
	stale, err := timeRequests(ctx, s.addrs[1], path, requests, http.StatusOK)
	if err != nil {
		return err
	}
	plain, err := timeRequests(ctx, s.addrs[2], path, waits, http.StatusServiceUnavailable)
	if err != nil {
		return err
	}
	b.table.add(finding{
		what: "503, Retry-After", measured: fmt.Sprintf("median %.2f ms, 99 %% %.2f ms", refused.median()*1e3, refused.quantile(0.99)*1e3),
		target: fmt.Sprintf("<= %s", seconds(mostAllOpen)), reached: refused.median() <= mostAllOpen.Seconds(),
		beside: fmt.Sprintf("of %d, the longest %.2f ms; Caddy, when its health checks leave none, %s", requests, refused.max()*1e3, seconds(duration(plain.median()))),
	})
	b.table.add(finding{
		what: "stale copy", measured: fmt.Sprintf("median %.2f ms, 99 %% %.2f ms", stale.median()*1e3, stale.quantile(0.99)*1e3),
		target: fmt.Sprintf("200, <= %s", seconds(mostAllOpen)), reached: stale.median() <= mostAllOpen.Seconds(),
		beside: fmt.Sprintf("of %d, the longest %.2f ms", requests, stale.max()*1e3),
	})
	return nil
}

// timeRequests sends requests one after the other and returns what each took.
func timeRequests(ctx context.Context, addr, path string, n, status int) (sample, error) {
	c, err := dial(ctx, addr, time.Now().Add(time.Minute))
	if err != nil {
		return nil, err
	}
	defer c.close()
	var times sample
	for range n {
		start := time.Now()
		head, err := c.skim(&request{path: path})
		if err != nil {
			return nil, err
		}
		if head.status != status {
			return nil, fmt.Errorf("status %d instead of %d", head.status, status)
		}
		times = append(times, time.Since(start).Seconds())
	}
	return times, nil
}

// checkRefusal makes sure that a refusal says when to come again.
func checkRefusal(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Header.Get("Retry-After") == "" || !strings.Contains(resp.Header.Get("Content-Type"), "json") {
		return fmt.Errorf("the refusal has the fields %v", resp.Header)
	}
	return nil
}
