package edgelimit

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// Why a request was refused, for the error routes and the log.
var (
	errRate        = errors.New("rate limit exceeded")
	errConcurrency = errors.New("too many concurrent requests")
)

// refuse answers a request that is beyond a limit.
func (l *Limit) refuse(w http.ResponseWriter, r *http.Request, d denial) error {
	retry := seconds(d.retry)
	hd := w.Header()
	// One piece of memory for all fields, each a slice of its own: handlers in
	// front may change them in place.
	values := new([5]string)
	set := func(i int, name, value string) {
		values[i] = value
		hd[name] = values[i : i+1 : i+1]
	}
	text := waitOf(retry, d.reason)
	set(0, "Retry-After", text.number)
	if l.Fields != FieldsOff && d.reason != reasonConcurrency {
		q := d.level.quota
		set(1, fieldPolicy, q.policy)
		set(2, fieldLimit, q.refused(retry))
	}
	if l.Status != http.StatusTooManyRequests { // which caches never store (RFC 6585 section 4)
		hd.Set("Cache-Control", "no-store")
	}
	if l.byError(r) {
		l.explain(r, d, retry)
		err := errRate
		if d.reason == reasonConcurrency {
			err = errConcurrency
		}
		return caddyhttp.Error(l.Status, err)
	}
	if l.Body != "" || l.Header != nil {
		return l.refuseCustom(w, r, d, retry)
	}
	set(3, "Content-Type", "application/json")
	set(4, "Content-Length", text.length)
	w.WriteHeader(l.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text.body)
	}
	return nil
}

// refuseCustom writes the response that the operator configured.
func (l *Limit) refuseCustom(w http.ResponseWriter, r *http.Request, d denial, retry int64) error {
	l.explain(r, d, retry)
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	hd := w.Header()
	body := waitOf(retry, d.reason).body
	if l.Body != "" {
		body = []byte(repl.ReplaceKnown(l.Body, ""))
	} else {
		hd.Set("Content-Type", "application/json")
	}
	for name, list := range l.Header {
		hd.Del(name)
		for _, v := range list {
			hd.Add(name, repl.ReplaceKnown(v, ""))
		}
	}
	hd.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(l.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // what the operator configured
	}
	return nil
}

// byError reports whether the server's error routes write the response.
func (l *Limit) byError(r *http.Request) bool {
	return l.Respond == RespondError || l.Respond == RespondAuto && reqinfo.HasErrorRoutes(r)
}

// explain resolves the placeholders {http.edge_limit.*}.
func (l *Limit) explain(r *http.Request, d denial, retry int64) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(func(key string) (any, bool) {
		switch key {
		case "http.edge_limit.zone":
			return d.zone.Name, true
		case "http.edge_limit.reason":
			return d.reason.String(), true
		case "http.edge_limit.retry_after":
			return retry, true
		}
		return nil, false
	})
}

// seconds rounds up: a client that comes back after that time is not early.
func seconds(d time.Duration) int64 { return max(1, roundUp(d)) }

func roundUp(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// wait is what a refusal says about the time until the next try.
type wait struct {
	number string
	body   []byte
	length string
}

// commonWaits is up to how many seconds the texts are made in advance.
const commonWaits = 64

var (
	waits = func() (all [commonWaits + 1]wait) {
		for i := range all {
			all[i] = newWait(int64(i), errRate)
		}
		return all
	}()
	crowded = newWait(int64(concurrencyRetry/time.Second), errConcurrency)
)

func newWait(retry int64, err error) wait {
	number := strconv.FormatInt(retry, 10)
	body := `{"error":"` + err.Error() + `","retry_after":` + number + "}"
	return wait{number, []byte(body), strconv.Itoa(len(body))}
}

func waitOf(retry int64, why reason) wait {
	switch {
	case why == reasonConcurrency:
		return crowded
	case retry <= commonWaits:
		return waits[retry]
	}
	return newWait(retry, errRate)
}
