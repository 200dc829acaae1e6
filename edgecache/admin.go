package edgecache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddyedge/caddy-edge/edgecache/object"
	"github.com/caddyedge/caddy-edge/edgecache/purge"
	"github.com/caddyedge/caddy-edge/edgecache/tier"
	"github.com/caddyedge/caddy-edge/internal/api"
)

func init() {
	api.Register(
		api.Route{Method: http.MethodGet, Path: "/edge/cache/stats", Role: api.Read, Handle: withStore(serveStats)},
		api.Route{Method: http.MethodGet, Path: "/edge/cache/keys", Role: api.Read, Handle: withStore(serveKeys)},
		api.Route{Method: http.MethodGet, Path: "/edge/cache/entry", Role: api.Read, Handle: withStore(serveEntry)},
		api.Route{Method: http.MethodPost, Path: "/edge/cache/purge", Role: api.Operate, Handle: withStore(servePurgeAPI)},
		api.Route{Method: http.MethodPost, Path: "/edge/cache/purge-prefix", Role: api.Operate, Handle: withStore(servePurgePrefix)},
		api.Route{Method: http.MethodPost, Path: "/edge/cache/purge-all", Role: api.Operate, Handle: withStore(servePurgeAll)},
	)
}

// withStore looks the store up at each call: the routes outlive configurations.
func withStore(f func(s *shared, w http.ResponseWriter, r *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		s, ok := pool.Peek(sharedKey)
		if !ok {
			return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("no edge_cache is configured")}
		}
		return f(s, w, r)
	}
}

// statsReply is the body of GET /edge/cache/stats.
type statsReply struct {
	tier.Stats
	Size        int64             `json:"size_bytes"`
	Hits        uint64            `json:"hits"`
	Misses      uint64            `json:"misses"`
	Collapsed   uint64            `json:"collapsed"`
	Stores      uint64            `json:"stores"`
	Outstanding int               `json:"purges_outstanding"`
	Results     map[string]uint64 `json:"results"`
}

func serveStats(s *shared, w http.ResponseWriter, _ *http.Request) error {
	m := collectors()
	reply := statsReply{
		Stats: s.memory.Stats(), Outstanding: s.purges.Outstanding(), Results: make(map[string]uint64),
		Collapsed: counterValue(m.collapsed), Stores: counterValue(m.stores),
	}
	reply.Size = reply.Bytes
	for i := range results {
		n := counterValue(m.requests.WithLabelValues(i.String()))
		reply.Results[i.String()] = n
		switch i {
		case ResultHit, ResultStale, ResultRevalidated:
			reply.Hits += n
		case ResultMiss, ResultStore, ResultExpired:
			reply.Misses += n
		default: // neither asked of the store nor of the origin's content
		}
	}
	return api.WriteJSON(w, reply)
}

// counterValue reads a counter.
func counterValue(c prometheus.Counter) uint64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		return 0
	}
	return uint64(m.GetCounter().GetValue())
}

// entryReply describes one stored response.
type entryReply struct {
	Key     string      `json:"key"`
	URL     string      `json:"url"`
	Kind    string      `json:"kind"`
	Status  int         `json:"status,omitempty"`
	Length  int64       `json:"length"`
	Weight  int64       `json:"weight_bytes"`
	Age     float64     `json:"age_seconds"`
	TTL     float64     `json:"ttl_seconds"`
	Hits    uint32      `json:"hits"`
	Stale   bool        `json:"stale,omitempty"`
	Tags    []string    `json:"tags,omitempty"`
	Vary    []string    `json:"vary,omitempty"`
	Header  http.Header `json:"header,omitempty"`
	Variant string      `json:"variant,omitempty"`
}

func describe(o *object.Object, now time.Time, whole bool) entryReply {
	fr := freshnessOf(o)
	e := entryReply{
		Key: o.Key(), URL: o.URL(), Kind: o.Kind().String(), Length: o.Len(), Weight: o.Weight(), Hits: o.Hits(), Stale: o.Stale(),
	}
	if o.Kind() == object.Response {
		e.Status, e.Age, e.TTL = o.Status(), fr.Age(now).Seconds(), fr.FreshFor(now).Seconds()
	}
	if _, variant, ok := strings.Cut(o.Key(), "\x00"+string(partVary)); ok {
		e.Variant = strings.ReplaceAll(variant, "\x00"+string(partVary), "; ")
	}
	for tag := range o.Tags {
		e.Tags = append(e.Tags, tag)
	}
	for name := range o.Vary {
		e.Vary = append(e.Vary, name)
	}
	if whole {
		e.Header = o.Header()
	}
	return e
}

// Limits of GET /edge/cache/keys.
const (
	defaultKeys = 100
	maxKeys     = 10_000
)

// serveKeys lists stored responses: ?limit= and ?contains=, a part of the URL.
func serveKeys(s *shared, w http.ResponseWriter, r *http.Request) error {
	limit := defaultKeys
	if v := r.FormValue("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxKeys {
			return badRequest("limit: invalid value %q: want 1 to %d", v, maxKeys)
		}
		limit = n
	}
	contains := r.FormValue("contains")
	now := time.Now()
	out := make([]entryReply, 0, min(limit, defaultKeys))
	for o := range s.memory.Range {
		if len(out) == limit {
			break
		}
		if s.purges.Check(o) != purge.Gone && strings.Contains(o.URL(), contains) {
			out = append(out, describe(o, now, false))
		}
	}
	return api.WriteJSON(w, map[string]any{"keys": out})
}

// serveEntry shows the stored responses of ?url= or ?key= with their headers.
func serveEntry(s *shared, w http.ResponseWriter, r *http.Request) error {
	url, key := r.FormValue("url"), r.FormValue("key")
	if (url == "") == (key == "") {
		return badRequest("want url or key")
	}
	now := time.Now()
	out := []entryReply{}
	for o := range s.memory.Range {
		if (o.URL() == url || o.Key() == key) && s.purges.Check(o) != purge.Gone {
			out = append(out, describe(o, now, true))
		}
		if len(out) == maxKeys {
			break
		}
	}
	if len(out) == 0 {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("not stored")}
	}
	return api.WriteJSON(w, map[string]any{"entries": out})
}

// servePurgeAPI is POST /edge/cache/purge.
func servePurgeAPI(s *shared, w http.ResponseWriter, r *http.Request) error {
	var q PurgeRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return err
	}
	ps, err := q.purges()
	if err != nil {
		return badRequest("%w", err)
	}
	return api.WriteJSON(w, newPurgeReply(s.operatorPurge(ps)))
}

// servePurgePrefix is POST /edge/cache/purge-prefix {"prefix"}.
func servePurgePrefix(s *shared, w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Prefix string `json:"prefix"`
		Soft   bool   `json:"soft"`
	}
	if err := api.ReadJSON(r, &q); err != nil {
		return err
	}
	p := purge.Purge{Kind: purge.Prefix, Value: q.Prefix, Soft: q.Soft}
	if err := p.Validate(); err != nil {
		return badRequest("%w", err)
	}
	reply := struct {
		Count  *int   `json:"deleted_count"`
		Prefix string `json:"prefix"`
	}{Prefix: q.Prefix}
	if n := s.operatorPurge([]purge.Purge{p}); n >= 0 {
		reply.Count = &n
	}
	return api.WriteJSON(w, reply)
}

// servePurgeAll is POST /edge/cache/purge-all, with {"soft"} or without a body.
func servePurgeAll(s *shared, w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Soft bool `json:"soft"`
	}
	if r.ContentLength != 0 {
		if err := api.ReadJSON(r, &q); err != nil {
			return err
		}
	}
	stored := s.memory.Stats().Entries
	n := s.operatorPurge([]purge.Purge{{Kind: purge.All, Soft: q.Soft}})
	if n < 0 {
		n = stored // not looked at one by one
	}
	return api.WriteJSON(w, map[string]int{"purged_count": n})
}

// operatorPurge purges for the admin API.
func (s *shared) operatorPurge(ps []purge.Purge) int {
	n := s.purgeAndCount(withShared(ps))
	announcePurge(caddy.Log().Named("admin.api.edge"), ps)
	return n
}

func badRequest(format string, args ...any) error {
	return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}
