package reqinfo

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// HasErrorRoutes reports whether the server of r has error routes (handle_errors), so
// that a refusal should be returned as an error for them to render.
func HasErrorRoutes(r *http.Request) bool {
	srv, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && srv.Errors != nil && len(srv.Errors.Routes) > 0
}
