package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLosses(t *testing.T) {
	books := &ledger{runs: map[string]int{"p1": 1, "p2": 1, "g1": 2}}
	ok, refused := http.StatusOK, http.StatusBadGateway
	for _, test := range []struct {
		name     string
		answers  []answer
		accepted bool
		right    bool
	}{
		{"a GET is sent again, a POST is not", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p1", status: refused}}, true, true},
		{"a POST that nobody had is sent again", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p1", status: ok}}, false, true},
		{"it is not", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p3", status: refused}}, false, false},
		{"a GET fails", []answer{{method: "GET", id: "g1", status: refused}, {method: "POST", id: "p1", status: ok}}, true, false},
		{"a POST is executed twice", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "g1", status: ok}}, true, false},
		{"a POST is served by nobody", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p9", status: ok}}, true, false},
		{"a POST ends otherwise", []answer{{method: "GET", id: "g1", status: ok}, {method: "POST", id: "p2", status: http.StatusGatewayTimeout}}, true, false},
		{"there was nothing", nil, true, false},
	} {
		var l, sum losses
		l.note(test.answers, books, test.accepted)
		sum.add(l)
		require.Equal(t, test.right, sum.right(), test.name)
	}
}
