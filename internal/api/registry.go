// Package api is the registry of the admin routes of all features. The module
// admin.api.edge serves them on Caddy's admin endpoint; whoever serves them
// elsewhere reads each route's role to decide who may call it.
package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Role is what a caller must be allowed to do.
type Role uint8

const (
	// Read is for routes that change nothing.
	Read Role = iota
	// Operate is for routes that change the state of the running edge.
	Operate
)

// String returns the role's name in configs and replies.
func (r Role) String() string {
	switch r {
	case Read:
		return "read"
	case Operate:
		return "operate"
	default:
		return fmt.Sprintf("Role(%d)", uint8(r))
	}
}

// Route is one operation of the admin API.
type Route struct {
	// Method is the HTTP method. A GET route also answers HEAD.
	Method string
	// Path is the whole path, such as /edge/cache/stats.
	Path string
	// Role is what a caller must be allowed to do.
	Role Role
	// Handle answers the request. It looks its state up on each call, because
	// routes outlive configs. An error that is no caddy.APIError means status
	// 500 (Caddy's own convention).
	Handle func(http.ResponseWriter, *http.Request) error
}

// Register adds routes; packages call it from init. It panics when a route is
// malformed or registered already, which are mistakes of the programmer.
func Register(routes ...Route) { registered.add(routes...) }

// Routes returns all routes, ordered by path and method.
func Routes() []Route { return registered.all() }

var registered registry

// registry is a set of routes. The zero value is empty.
type registry struct {
	mu     sync.RWMutex
	routes []Route
}

func (reg *registry) add(routes ...Route) {
	reg.mu.Lock()
	defer reg.mu.Unlock()
	for _, route := range routes {
		if err := route.check(); err != nil {
			panic(fmt.Sprintf("admin route %s %q: %v", route.Method, route.Path, err))
		}
		at, exists := slices.BinarySearchFunc(reg.routes, route, compare)
		if exists {
			panic(fmt.Sprintf("admin route %s %q: registered already", route.Method, route.Path))
		}
		reg.routes = slices.Insert(reg.routes, at, route)
	}
}

func (reg *registry) all() []Route {
	reg.mu.RLock()
	defer reg.mu.RUnlock()
	return slices.Clone(reg.routes)
}

// at returns the routes of one path, ordered by method.
func (reg *registry) at(path string) []Route {
	return slices.DeleteFunc(reg.all(), func(r Route) bool { return r.Path != path })
}

func compare(a, b Route) int {
	if c := strings.Compare(a.Path, b.Path); c != 0 {
		return c
	}
	return strings.Compare(a.Method, b.Method)
}

func (r Route) check() error {
	switch {
	case r.Method == "":
		return fmt.Errorf("no method")
	case !strings.HasPrefix(r.Path, "/edge/"):
		return fmt.Errorf("path must begin with /edge/")
	// Characters with a meaning to http.ServeMux, and subtree patterns.
	case strings.ContainsAny(r.Path, "{} ") || strings.HasSuffix(r.Path, "/"):
		return fmt.Errorf("path must be fixed")
	case r.Handle == nil:
		return fmt.Errorf("no handler")
	}
	return nil
}
