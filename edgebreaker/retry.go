package edgebreaker

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// ending is why the policy ended the retries of a request.
type ending uint8

const (
	goesOn     ending = iota
	endBudget         // the budget is spent
	endMethod         // the method may not be repeated
	endBackend        // no other backend may be asked
	endBody           // the request's body is gone

	endings = iota
)

var endingNames = [endings]string{"sent", "budget", "method", "backend", "body"}

// String returns the name for metrics.
func (e ending) String() string { return endingNames[e] }

// methods tells which methods may be repeated.
type methods struct {
	any  bool
	list []string
}

// idempotent are the methods of RFC 9110 section 9.2.2.
var idempotent = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete}

// anyMethod stands for all methods.
const anyMethod = "any"

func newMethods(list []string) (methods, error) {
	if len(list) == 0 {
		return methods{list: idempotent}, nil
	}
	if slices.Contains(list, anyMethod) {
		if len(list) > 1 {
			return methods{}, fmt.Errorf("retry_methods: %s stands for all, but there is %q too", anyMethod, list)
		}
		return methods{any: true}, nil
	}
	for _, m := range list {
		if !httpguts.ValidHeaderFieldName(m) || m != strings.ToUpper(m) {
			return methods{}, fmt.Errorf("retry_methods: invalid method %q: want one such as GET, or %s", m, anyMethod)
		}
	}
	return methods{list: list}, nil
}

func (m *methods) allow(method string) bool { return m.any || slices.Contains(m.list, method) }

// again decides whether a request that has failed may be sent again. It has been
// settled.
func (rec *record) again(now time.Time, r *http.Request) ending {
	h := rec.handler
	f := rec.tries.last().failure
	if f != failureDial && !h.methods.allow(r.Method) {
		return endMethod
	}
	// Caddy replays a body that it has buffered, or of which nothing has come. But who
	// had a connection may still read on, and the next backend would get only a part.
	if rec.content != nil && !rec.buffered && !rec.body.empty() && (f != failureDial && f != failureTLS || rec.body.begun.Load()) {
		return endBody
	}
	if !h.budget.Retry(now) {
		return endBudget
	}
	return goesOn
}

// clientStatus is what the client gets when the retries are ended after this attempt. A
// result of gRPC has a status that tells of no failure.
func (t *try) clientStatus() int {
	switch {
	case t.status >= http.StatusBadRequest:
		return int(t.status)
	case t.failure == failureTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}
