package reqinfo

import (
	"context"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// logPrefix begins the keys of what belongs into the access log.
const logPrefix = "log:"

// Log adds a field to the access log of the request with that context, if there is
// one. If the request has a record it is noted there too, since the log may be that
// of another request, on whose behalf this one was made: see Info.Log.
func Log(ctx context.Context, key, value string) {
	extra := logFields(ctx)
	if extra == nil {
		return
	}
	extra.Set(zap.String(key, value))
	if info, _ := caddyhttp.GetVar(ctx, varKey).(*Info); info != nil {
		info.Set(logPrefix+key, value)
	}
}

// Logged reports whether there is an access log for the request with that context.
func Logged(ctx context.Context) bool { return logFields(ctx) != nil }

// Log adds the fields that were noted in the record to the access log of the
// request with that context.
func (i *Info) Log(ctx context.Context) {
	extra := logFields(ctx)
	if extra == nil {
		return
	}
	i.Range(func(key, value string) bool {
		if name, ok := strings.CutPrefix(key, logPrefix); ok {
			extra.Set(zap.String(name, value))
		}
		return true
	})
}

func logFields(ctx context.Context) *caddyhttp.ExtraLogFields {
	srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || srv.Logs == nil {
		return nil
	}
	extra, _ := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	return extra
}
