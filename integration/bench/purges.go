package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The store of the row purge: objects in tags and folders, on two hosts. An
// object's tag, folder and host follow from its number.
const (
	purgeObjects      = 1_000_000
	purgeObjectsShort = 100_000
	purgeTags         = 1000
	purgeFolders      = 100
	purgeBody         = 64
	purgeLimit        = 5 * time.Millisecond
	purgeBatch        = 10_000
	purgeHosts        = 2
)

// purgeStore is a filled server.
type purgeStore struct {
	*edge
	folder  string
	objects int64
}

func runPurge(ctx context.Context, b *bench) error {
	s := purgeStore{objects: purgeObjects}
	if b.short {
		s.objects = purgeObjectsShort
	}
	var err error
	if s.edge, err = b.startEdge(ctx, edgeOptions{memory: "2GiB"}); err != nil {
		return err
	}
	defer s.close()
	s.folder, _ = b.origin.folder(reply{fields: cacheable, size: purgeBody, more: addPurgeTag})
	l := load{addr: s.cache, clients: fillClients, requests: s.objects, limit: time.Hour, make: s.request}
	if _, err := l.run(ctx); err != nil {
		return err
	}
	stats, err := s.admin.cacheStats(ctx)
	if err != nil {
		return err
	}
	if stats.Entries < s.objects {
		return fmt.Errorf("only %d of %d objects were stored", stats.Entries, s.objects)
	}
	if err := s.reportBatch(ctx, b); err != nil {
		return err
	}
	if err := s.reportStream(ctx, b); err != nil {
		return err
	}
	return s.reportKinds(ctx, b)
}

// request makes the request for an object.
func (s *purgeStore) request(i int64, r *request) {
	r.host = purgeHost(i)
	r.path = s.folder + "f" + strconv.FormatInt(i/purgeTags%purgeFolders, 10) + "/" + strconv.FormatInt(i, 10)
}

func purgeHost(i int64) string { return "h" + strconv.FormatInt(i%purgeHosts, 10) + ".test" }

func purgeTag(i int64) string { return "t" + strconv.FormatInt(i%purgeTags, 10) }

// addPurgeTag gives an object its tag.
func addPurgeTag(req *http.Request, h http.Header) {
	name := req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
	if i, err := strconv.ParseInt(name, 10, 64); err == nil {
		h.Set("Surrogate-Key", purgeTag(i))
	}
}

// hit reports whether an object is served from the store.
func (s *purgeStore) hit(c *client, i int64) (bool, error) {
	var r request
	s.request(i, &r)
	head, err := c.skim(&r)
	if err != nil {
		return false, fmt.Errorf("getting %s: %w", r.path, err)
	}
	return isHit(head.cacheStatus), nil
}

// isHit reads a Cache-Status field of one cache.
func isHit(status []byte) bool {
	_, rest, _ := strings.Cut(string(status), ";")
	return strings.HasPrefix(strings.TrimSpace(rest), "hit")
}

// purgeKind is a purge with an object that it hits and one that it does not.
type purgeKind struct {
	name      string
	what      func(round int64) map[string]any
	hit       func(round int64) int64
	untouched func(round int64) int64 // nil: it hits all
}

// kinds are the purges of the table. The objects that one round is checked with
// are hit by no other round's purges.
func (s *purgeStore) kinds() []purgeKind {
	// Object 1000*f+t lies in folder f and has tag t.
	at := func(folder, tag int64) int64 { return folder*purgeTags + tag }
	return []purgeKind{
		{
			"tag", func(n int64) map[string]any { return map[string]any{"tag": purgeTag(n)} },
			func(n int64) int64 { return at(50, n) }, func(n int64) int64 { return at(50, 100+n) },
		},
		{
			"prefix", func(n int64) map[string]any {
				return map[string]any{"prefix": s.folder + "f" + strconv.FormatInt(n, 10)}
			},
			func(n int64) int64 { return at(n, 200) }, func(n int64) int64 { return at(60+n, 200) },
		},
		{
			"host", func(n int64) map[string]any { return map[string]any{"host": purgeHost(n)} },
			func(n int64) int64 { return at(70+n, 300+n) }, func(n int64) int64 { return at(80, 300+n+1) },
		},
		{
			"all", func(int64) map[string]any { return map[string]any{"all": true} },
			func(n int64) int64 { return at(90+n, 400) }, nil,
		},
	}
}

// purgeRounds is how often each kind is measured.
const purgeRounds = 5

// reportKinds measures the time to return of each kind, and what is served then.
func (s *purgeStore) reportKinds(ctx context.Context, b *bench) error {
	c, err := dial(ctx, s.cache, time.Now().Add(10*time.Minute))
	if err != nil {
		return err
	}
	defer c.close()
	var served, lost int
	for _, k := range s.kinds() {
		var times sample
		for round := range int64(purgeRounds) {
			took, wrong, err := s.purgeOnce(ctx, c, k, round)
			if err != nil {
				return fmt.Errorf("purge by %s: %w", k.name, err)
			}
			times = append(times, took.Seconds())
			served, lost = served+wrong.served, lost+wrong.lost
		}
		b.table.add(finding{
			what: "purge by " + k.name, measured: times.millis(),
			target: "< " + seconds(purgeLimit), reached: times.median() < purgeLimit.Seconds(),
			beside: fmt.Sprintf("%d objects", s.objects),
		})
	}
	b.table.add(finding{
		what: "after a purge", measured: fmt.Sprintf("%d purged served, %d others lost", served, lost),
		target: "none", reached: served == 0 && lost == 0,
	})
	return nil
}

// mistakes are objects that were served although purged, or the other way round.
type mistakes struct{ served, lost int }

// purgeOnce purges with one object in the store that is to go and one to stay.
func (s *purgeStore) purgeOnce(ctx context.Context, c *client, k purgeKind, round int64) (time.Duration, mistakes, error) {
	var wrong mistakes
	objects := []int64{k.hit(round)}
	if k.untouched != nil {
		objects = append(objects, k.untouched(round))
	}
	for _, i := range objects {
		for range 2 {
			if _, err := s.hit(c, i); err != nil {
				return 0, wrong, err
			}
		}
	}
	took, err := s.admin.purge(ctx, k.what(round))
	if err != nil {
		return took, wrong, err
	}
	for n, i := range objects {
		hit, err := s.hit(c, i)
		switch {
		case err != nil:
			return took, wrong, err
		case hit && n == 0:
			wrong.served++
		case !hit && n == 1:
			wrong.lost++
		}
	}
	return took, wrong, nil
}

// reportBatch has thousands of purges outstanding at once.
func (s *purgeStore) reportBatch(ctx context.Context, b *bench) error {
	before, err := s.admin.liveHeap(ctx)
	if err != nil {
		return err
	}
	tags := make([]string, purgeBatch)
	for i := range tags {
		tags[i] = "unused" + strconv.Itoa(i)
	}
	took, err := s.admin.purge(ctx, map[string]any{"tags": tags})
	if err != nil {
		return err
	}
	stats, err := s.admin.cacheStats(ctx)
	if err != nil {
		return err
	}
	after, err := s.admin.liveHeap(ctx)
	if err != nil {
		return err
	}
	b.table.add(finding{
		what:     "outstanding purges",
		measured: fmt.Sprintf("%d in %s", stats.Outstanding, seconds(took)),
		target:   fmt.Sprintf("%d", purgeBatch), reached: stats.Outstanding >= purgeBatch,
		beside: fmt.Sprintf("one request; heap grew by %s", mebibytes(after-before)),
	})
	return nil
}
