package edgelimit

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// eventRefused is emitted when a client begins to be refused.
const eventRefused = "edge_limit_refused" // data: zone, key, reason, mode, retry_after

// noticesPerSecond bounds the log lines of one zone whatever the number of
// clients that are refused.
const noticesPerSecond = 10

// shadowNotice sets the notices of zones in shadow mode apart.
const shadowNotice = 1 << 16

var (
	noticeLimit = func() *gcra.Limit {
		limit, err := gcra.Rate(noticesPerSecond, time.Second, noticesPerSecond)
		if err != nil {
			panic(err)
		}
		return &limit
	}()
	allNotices = gcra.HashString("all clients")
)

// report counts a request beyond a limit, and tells of its client once in a
// while.
func (l *Limit) report(d denial, r *http.Request, mode Mode, now gcra.Time) {
	z := d.zone
	z.metrics.reasons[d.reason].Inc()
	if mode == ModeShadow {
		z.metrics.shadow.Inc()
	} else {
		z.metrics.denied.Inc()
	}
	var room [keySize]byte
	s := z.state
	s.top.Add(d.level.keyer.display(appendID(room[:0], d.key), r))
	if ctx := r.Context(); reqinfo.Logged(ctx) {
		reqinfo.Log(ctx, "edge_limit", z.Name)
		reqinfo.Log(ctx, "edge_limit_reason", d.reason.String())
		reqinfo.Log(ctx, "edge_limit_mode", string(mode))
	}
	told := d.key
	if mode == ModeShadow {
		told = told.With(shadowNotice) // the first real refusal is news
	}
	if !s.notices.Check(told, l.notices, 1, now).Allowed || !s.lines.Charge(allNotices, noticeLimit, 1, now).Allowed ||
		!s.notices.Charge(told, l.notices, 1, now).Allowed {
		return
	}
	key := string(d.level.keyer.display(nil, r))
	l.logger.Warn("request beyond its limit", zap.String("zone", z.Name), zap.String("key", key),
		zap.String("reason", d.reason.String()), zap.String("mode", string(mode)),
		zap.Int64("retry_after", seconds(d.retry)))
	edgeapp.Emit(eventRefused, map[string]any{
		"zone": z.Name, "key": key, "reason": d.reason.String(), "mode": string(mode), "retry_after": seconds(d.retry),
	})
}
