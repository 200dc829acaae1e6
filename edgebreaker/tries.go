package edgebreaker

import (
	"strconv"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// try is an attempt as it is told: to the log, the metrics and the client.
type try struct {
	backend  *breaker.Backend
	counters *counters
	status   int16 // 0: there was no header
	failure  failure
}

// tries are the attempts of a request. The first ones need no memory of their own.
type tries struct {
	n    int
	few  [3]try
	more []try
}

func (t *tries) add(one try) {
	if t.n < len(t.few) {
		t.few[t.n] = one
	} else {
		t.more = append(t.more, one)
	}
	t.n++
}

func (t *tries) at(i int) *try {
	if i < len(t.few) {
		return &t.few[i]
	}
	return &t.more[i-len(t.few)]
}

func (t *tries) last() *try { return t.at(t.n - 1) }

// has reports whether a backend was tried.
func (t *tries) has(b *breaker.Backend) bool {
	for i := range t.n {
		if t.at(i).backend == b {
			return true
		}
	}
	return false
}

// String lists the backends with what became of the requests to them, such as
// "10.0.0.1:80 dial, 10.0.0.2:80 200".
func (t *tries) String() string {
	var text []byte
	for i := range t.n {
		one := t.at(i)
		if i > 0 {
			text = append(text, ", "...)
		}
		text = append(append(text, one.backend.Address()...), ' ')
		if one.status != 0 {
			text = strconv.AppendInt(text, int64(one.status), 10)
			if one.failure != failureNone {
				text = append(text, ' ')
			}
		}
		text = append(text, one.failure.String()...)
	}
	return string(text)
}
