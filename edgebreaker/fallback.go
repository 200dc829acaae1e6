package edgebreaker

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Fallback answers a request for which no backend can be asked: with a status and a
// body, or by routes.
type Fallback struct {
	// Status is the status. Default: 503.
	Status int `json:"status,omitempty"`
	// Body is the body, of the type that it looks like; placeholders are replaced.
	// Default: none.
	Body string `json:"body,omitempty"`
	// Routes answer instead, with handlers of their own. Default: none.
	Routes caddyhttp.RouteList `json:"routes,omitempty"`
}

func (h *Handler) provisionFallback(ctx caddy.Context) error {
	f := h.Fallback
	switch {
	case f == nil:
		return nil
	case len(f.Routes) > 0 && (f.Status != 0 || f.Body != ""):
		return errors.New("fallback: has routes and a body or status")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("fallback: invalid status %d: must be from 200 to 599", f.Status)
	case len(f.Routes) == 0:
		orDefault(&f.Status, http.StatusServiceUnavailable)
		h.fallback = caddyhttp.HandlerFunc(f.answer)
		return nil
	}
	if err := f.Routes.Provision(ctx); err != nil {
		return fmt.Errorf("fallback: %w", err)
	}
	h.fallback = f.Routes.Compile(caddyhttp.HandlerFunc(nobody))
	return nil
}

// answer writes status and body.
func (f *Fallback) answer(w http.ResponseWriter, r *http.Request) error {
	static := caddyhttp.StaticResponse{StatusCode: caddyhttp.WeakString(fmt.Sprint(f.Status)), Body: f.Body}
	return static.ServeHTTP(w, r, nil)
}

// nobody is behind routes that answer nothing.
func nobody(http.ResponseWriter, *http.Request) error {
	return caddyhttp.Error(http.StatusServiceUnavailable, errUnavailable)
}
