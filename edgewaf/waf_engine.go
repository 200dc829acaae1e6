package edgewaf

import (
	"errors"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgewaf/crs"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// engines holds compiled rule sets by their content, over every configuration: sites with
// the same rules have them once, and a reload that does not change them compiles nothing.
var engines = poolref.New[*rulesEngine]()

// rulesEngine is a compiled rule set in the pool.
type rulesEngine struct{ *crs.Engine }

// Destruct implements caddy.Destructor.
func (e *rulesEngine) Destruct() error { return e.Close() }

// takeEngine returns the rule set of the options, compiled if there is none like it.
func takeEngine(o *crs.Options, limits crs.Limits) (*poolref.Ref[*rulesEngine], error) {
	plan, err := crs.Prepare(o, limits)
	if err != nil {
		return nil, err
	}
	if key, known := plan.Key(); known {
		ref, err := engines.Take(key, func() (*rulesEngine, error) { return nil, errNoEngine })
		if !errors.Is(err, errNoEngine) {
			return ref, err
		}
	}
	// What a set is made of, and so its key, is sure only when it is compiled.
	compiled, err := plan.Compile()
	if err != nil {
		return nil, err
	}
	used := false
	ref, err := engines.Take(compiled.Key(), func() (*rulesEngine, error) {
		used = true
		return &rulesEngine{compiled}, nil
	})
	if !used {
		_ = compiled.Close()
	}
	return ref, err
}

// errNoEngine: the rule set is not in the pool.
var errNoEngine = errors.New("not compiled yet")

var _ caddy.Destructor = (*rulesEngine)(nil)
