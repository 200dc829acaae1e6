package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(Module{})
}

// Module serves the registered routes on Caddy's admin endpoint, under Caddy's
// access control. It has no configuration.
type Module struct{}

// CaddyModule returns the Caddy module information.
func (Module) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.edge",
		New: func() caddy.Module { return new(Module) },
	}
}

// root is the path that lists the routes; below it is nothing but routes.
const root = "/edge/"

// Routes returns one admin route per registered path, and one for all other paths
// below /edge/.
func (*Module) Routes() []caddy.AdminRoute {
	routes := []caddy.AdminRoute{{Pattern: root, Handler: index{}}}
	for _, route := range Routes() {
		// Routes are ordered by path, so those of one path are neighbours.
		if n := len(routes); n > 0 && routes[n-1].Pattern == route.Path {
			continue
		}
		routes = append(routes, caddy.AdminRoute{Pattern: route.Path, Handler: Handler(route.Path)})
	}
	return routes
}

// Handler serves the registered routes of path. Any other method is a
// caddy.APIError with status 405, and the Allow header names the right ones
// (RFC 9110 section 15.5.6).
func Handler(path string) caddy.AdminHandler {
	return methods(registered.at(path))
}

// index lists the routes, and answers for paths that have none.
type index struct{}

// indexReply is the body of GET /edge/.
type indexReply struct {
	Routes []routeReply `json:"routes"`
}

type routeReply struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Role   string `json:"role"`
}

// ServeHTTP implements caddy.AdminHandler.
func (index) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path != root {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no route %s: GET %s lists them", r.URL.Path, root)}
	}
	return methods{{Method: http.MethodGet, Path: root, Handle: serveIndex}}.ServeHTTP(w, r)
}

func serveIndex(w http.ResponseWriter, _ *http.Request) error {
	reply := indexReply{Routes: []routeReply{}}
	for _, route := range Routes() {
		reply.Routes = append(reply.Routes, routeReply{route.Method, route.Path, route.Role.String()})
	}
	return WriteJSON(w, reply)
}

// methods are the routes of one path.
type methods []Route

// ServeHTTP calls the route of the request's method.
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	var allow []string
	for _, route := range m {
		if r.Method == route.Method || r.Method == http.MethodHead && route.Method == http.MethodGet {
			return route.Handle(w, r)
		}
		allow = append(allow, route.Method)
		if route.Method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	return caddy.APIError{
		HTTPStatus: http.StatusMethodNotAllowed,
		Err:        fmt.Errorf("method %s is not allowed, use %s", r.Method, strings.Join(allow, " or ")),
	}
}

// Interface guards
var (
	_ caddy.AdminRouter  = (*Module)(nil)
	_ caddy.AdminHandler = (methods)(nil)
	_ caddy.AdminHandler = index{}
)
