package edgelimit

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

var errOverloaded = errors.New("the origin is overloaded")

// overloadNotice is the least time between two log lines about refusals.
const overloadNotice = 10 * time.Second

// refuse answers a request that the origin can't take at present.
func (a *Adaptive) refuse(w http.ResponseWriter, r *http.Request, t turnedAway) error {
	if !reqinfo.HasErrorRoutes(r) {
		a.answer(w, r, t)
		return nil
	}
	retry := a.note(w, r, t)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.edge_adaptive.reason", t.reason)
		repl.Set("http.edge_adaptive.retry_after", retry)
	}
	return caddyhttp.Error(a.Status, errOverloaded)
}

// describing are the fields of an origin's response that do not hold for a
// refusal in its place.
var describing = []string{
	"Accept-Ranges", "Age", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Location", "Content-Range", "Etag",
	"Expires", "Grpc-Encoding", "Grpc-Message", "Grpc-Status", "Last-Modified", "Link", "Set-Cookie", "Trailer",
}

// answer writes the refusal.
func (a *Adaptive) answer(w http.ResponseWriter, r *http.Request, t turnedAway) {
	retry := a.note(w, r, t)
	hd := w.Header()
	for _, name := range describing {
		hd.Del(name)
	}
	body := `{"error":"overloaded","retry_after":` + strconv.FormatInt(retry, 10) + "}"
	hd.Set("Content-Type", "application/json")
	hd.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body))
	}
}

// note tells the log and the handlers in front of a refusal, and sets the fields
// that it always has. It returns the seconds until the next try.
func (a *Adaptive) note(w http.ResponseWriter, r *http.Request, t turnedAway) int64 {
	retry := seconds(t.retry)
	reqinfo.Log(r.Context(), "edge_adaptive", t.reason)
	if now, last := time.Now().UnixNano(), a.control.notice.Load(); now-last >= int64(overloadNotice) && a.control.notice.CompareAndSwap(last, now) {
		a.logger.Warn("refusing requests to protect the origin", zap.String("name", a.Name), zap.String("reason", t.reason),
			zap.Int64("retry_after", retry))
	}
	reqinfo.From(r).Set(reqinfo.Refused, adaptiveDirective) // a cache must not take it for the origin's word
	w.Header().Set("Retry-After", strconv.FormatInt(retry, 10))
	w.Header().Set("Cache-Control", "no-store") // whatever a cache in front makes of errors
	return retry
}
