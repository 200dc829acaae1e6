package edgewaf

import (
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
	var compiled *crs.Engine
	key, known := plan.Key()
	if !known {
		// Which files the set is made of shows when it is compiled.
		if compiled, err = plan.Compile(); err != nil {
			return nil, err
		}
		key = compiled.Key()
	}
	used := false
	ref, err := engines.Take(key, func() (*rulesEngine, error) {
		used = true
		if compiled != nil {
			return &rulesEngine{compiled}, nil
		}
		e, err := plan.Compile()
		return &rulesEngine{e}, err
	})
	if compiled != nil && !used {
		_ = compiled.Close()
	}
	return ref, err
}

var _ caddy.Destructor = (*rulesEngine)(nil)
