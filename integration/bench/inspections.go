package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// inspectionPackage has the benchmarks of what the rules take.
const inspectionPackage = "github.com/caddyedge/caddy-edge/edgewaf/crs"

// inspections are the benchmarks with how many times faster they must be with our
// operators than with those of the engine.
var inspections = []struct {
	name, what string
	least      float64
}{
	{"BrowserGET", "GET of a browser", 1.4},
	{"Form1K", "form of 1 KiB", 2.3},
	{"JSON4K", "JSON of 4 KiB", 1.1},
	{"JSON64K", "JSON of 64 KiB", 10},
}

// runInspections compares the Core Rule Set with our operators and with those of the engine.
// A process has one kind of them, so there are two, in turns.
func runInspections(ctx context.Context, b *bench) error {
	file := filepath.Join(b.dir, "inspections.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", file, inspectionPackage).CombinedOutput(); err != nil {
		return fmt.Errorf("building the benchmarks: %w\n%s", err, out)
	}
	rounds, length := 11, time.Second
	if b.short {
		rounds, length = 3, 300*time.Millisecond
	}
	ours, stock := make(map[string]*timing), make(map[string]*timing)
	for round := range rounds {
		turns := []map[string]*timing{ours, stock}
		if round%2 == 1 {
			turns[0], turns[1] = stock, ours
		}
		for i, timings := range turns {
			cmd := exec.CommandContext(ctx, file, "-test.run=^$", "-test.bench=.", "-test.benchmem", "-test.benchtime="+length.String()) //nolint:gosec // from our own build
			cmd.Env = os.Environ()
			if (i == 1) != (round%2 == 1) {
				cmd.Env = append(cmd.Env, "EDGE_BENCH_STOCK=1")
			}
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("running the benchmarks: %w\n%s", err, out)
			}
			if err := addTimings(timings, string(out)); err != nil {
				return err
			}
		}
	}
	return b.table.addInspections(ours, stock)
}

// addInspections judges what the rules took.
func (t *table) addInspections(ours, stock map[string]*timing) error {
	for _, i := range inspections {
		our, their := ours[i.name], stock[i.name]
		if our == nil || their == nil {
			return fmt.Errorf("no benchmark %s in %s", i.name, inspectionPackage)
		}
		faster, pairs := their.nanos.median()/our.nanos.median(), their.nanos.over(our.nanos)
		t.add(finding{
			what: i.what, measured: fmt.Sprintf("1/%.2f (rounds: %.2f-%.2f)", faster, pairs.min(), pairs.max()),
			target: fmt.Sprintf("<= 1/%.1f of stock", i.least), reached: faster >= i.least,
			beside: fmt.Sprintf("%.2f ms, stock %.2f ms", our.nanos.median()/1e6, their.nanos.median()/1e6),
		})
	}
	return nil
}

// browserFields are lines of a browser's request.
const browserFields = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\nCookie: session=6f1c0f8e2b5a4d3c9e7f; theme=dark; consent=yes\r\n"

// Sites of the row of whole requests.
const (
	siteBare = iota
	siteBasic
	siteWaf
)

// runInspected compares whole requests with those of a site without the firewall.
func runInspected(ctx context.Context, b *bench) error {
	const respond = "\trespond ok\n"
	s, err := b.startSites(ctx, siteOptions{name: "edge", sites: []string{
		siteBare:  respond,
		siteBasic: "\tedge_waf {\n\t\tcrs off\n\t}\n" + respond,
		siteWaf:   "\tedge_waf\n" + respond,
	}})
	if err != nil {
		return err
	}
	defer s.close()
	rounds := 20
	if b.short {
		rounds = 6
	}
	loads := make([]*load, len(s.addrs))
	for i, addr := range s.addrs {
		requests := int64(4_000)
		if i == siteWaf {
			requests = 400
		}
		loads[i] = &load{
			addr: addr, clients: 16, requests: requests,
			make: func(_ int64, r *request) {
				r.host, r.path, r.fields = "www.example.com", "/products/shoes?page=3&sort=price", browserFields
			},
			check: func(_ int64, head *responseHead) error {
				if head.status != http.StatusOK {
					return fmt.Errorf("status %d", head.status)
				}
				return nil
			},
		}
		if _, err := loads[i].run(ctx); err != nil { // connections, automata
			return err
		}
	}
	costs, err := interleaved(ctx, s.process, loads, rounds)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		what string
		site int
	}{{"GET, packs alone", siteBasic}, {"GET", siteWaf}} {
		more := (costs[f.site].median() - costs[siteBare].median()) * 1e6
		b.table.add(finding{
			what: f.what, measured: fmt.Sprintf("%s, %+.1f us", costs[f.site].over(costs[siteBare]).ratio(), more),
			beside: fmt.Sprintf("%.1f us, respond alone %.1f us", costs[f.site].median()*1e6, costs[siteBare].median()*1e6),
		})
	}
	return nil
}

const (
	waffedSites = 23
	mostSites   = 1.3
)

// runWaffedSites compares the memory of many sites with that of one.
func runWaffedSites(ctx context.Context, b *bench) error {
	rounds := 5
	if b.short {
		rounds = 1
	}
	var one, many sample
	for range rounds {
		for _, n := range []int{1, waffedSites} {
			resident, err := b.residentWith(ctx, n)
			if err != nil {
				return err
			}
			if n == 1 {
				one = append(one, float64(resident))
			} else {
				many = append(many, float64(resident))
			}
		}
	}
	ratio := many.over(one)
	b.table.add(finding{
		what: fmt.Sprintf("RSS of %d sites", waffedSites), measured: ratio.ratio(), target: fmt.Sprintf("<= %.1fx of one", mostSites), reached: ratio.median() <= mostSites,
		beside: fmt.Sprintf("%s, one site %s", mebibytes(int64(many.median())), mebibytes(int64(one.median()))),
	})
	return nil
}

// residentWith returns what a server with n sites takes after all of them had requests.
func (b *bench) residentWith(ctx context.Context, n int) (int64, error) {
	o := siteOptions{name: fmt.Sprintf("edge%d", n)}
	for range n {
		o.sites = append(o.sites, "\tedge_waf\n\trespond ok\n")
	}
	s, err := b.startSites(ctx, o)
	if err != nil {
		return 0, err
	}
	defer s.close()
	r := request{host: "www.example.com", path: "/products/shoes?page=3", fields: browserFields}
	for i := range 10 * waffedSites {
		got, err := getOnce(ctx, s.addrs[i%n], &r, time.Minute)
		if err != nil {
			return 0, err
		}
		if got.status != http.StatusOK {
			return 0, fmt.Errorf("status %d", got.status)
		}
	}
	m, err := s.memory()
	if err == nil && m.resident == 0 {
		err = errors.New("no memory")
	}
	return m.resident, err
}
