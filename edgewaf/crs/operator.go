package crs

import (
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"

	"github.com/caddyedge/caddy-edge/edgewaf/rx"
)

// RegisterOperator puts the automata of package rx in place of Coraza's operator @rx, which
// is also what a rule without an operator has. Results and captured fields are the same;
// the directive SecRxPreFilter has no effect, since this operator has prefilters of its own.
//
// Coraza has one registry of operators per process, and reads it without a lock: this
// concerns every rule set of the process that is compiled afterwards, whoever compiles it,
// and has to be called before the first. Rule sets that are already compiled keep the
// operators they have. Further calls do nothing.
var RegisterOperator = sync.OnceFunc(func() {
	plugins.RegisterOperator("rx", newOperator)
	plugins.RegisterOperator("pmFromDataset", newDataset)
})

// operator is @rx with one expression.
type operator struct{ expr *rx.Regexp }

// maxFields is how many fields Coraza keeps: TX:0 for the match and eight groups.
const maxFields = 9

func newOperator(options plugintypes.OperatorOptions) (plugintypes.Operator, error) {
	e := expression{text: defaultFlags + options.Arguments}
	if overBytes(e.text) {
		// Coraza sets no flags there.
		e = expression{text: strings.Clone(options.Arguments), bytes: true}
	}
	expr, err := e.compiled()
	if err != nil {
		return nil, err
	}
	return &operator{expr}, nil
}

// Evaluate reports whether the value has a match.
func (o *operator) Evaluate(tx plugintypes.TransactionState, value string) bool {
	if !tx.Capturing() {
		return o.expr.Match(value)
	}
	return o.expr.Captures(value, maxFields, tx.CaptureField)
}

// expression is what automata are shared by.
type expression struct {
	text  string
	bytes bool
}

// automata are those in use by rule sets. Each rule set that has an expression has the
// same one, with all the states that any of them needed; what none has any more is freed.
// Coraza's memoizer would keep it until somebody closes the rule set.
var automata = struct {
	sync.Mutex
	used map[expression]weak.Pointer[rx.Regexp]
}{used: make(map[expression]weak.Pointer[rx.Regexp])}

func (e expression) compiled() (*rx.Regexp, error) {
	// Rule sets are compiled rarely: better one after the other than twice.
	automata.Lock()
	defer automata.Unlock()
	if r := automata.used[e].Value(); r != nil {
		return r, nil
	}
	compile := rx.Compile
	if e.bytes {
		compile = rx.CompileBinary
	}
	r, err := compile(e.text)
	if err != nil {
		return nil, err
	}
	automata.used[e] = weak.Make(r)
	runtime.AddCleanup(r, expression.forget, e)
	return r, nil
}

// forget is called when an automaton was freed. By then there may be another one.
func (e expression) forget() {
	automata.Lock()
	defer automata.Unlock()
	if automata.used[e].Value() == nil {
		delete(automata.used, e)
	}
}
