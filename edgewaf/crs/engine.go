package crs

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/corazawaf/coraza/v3"
)

// Limits are how much of the content a rule set is given.
type Limits struct {
	// Body and Response are bytes of a request's and a response's content.
	Body, Response int64
	// ResponseTypes are the media types of responses that are looked at.
	ResponseTypes []string
}

// Engine is a compiled rule set. It is safe for concurrent use.
type Engine struct {
	waf     coraza.WAF
	rules   []Rule
	key     string
	logging bool // a rule is evaluated after the response
	// paranoia is the level up to which rules score.
	paranoia int
	stats    Stats
}

// Stats say what a rule set costs.
type Stats struct {
	Rules       int           `json:"rules"`
	CompileTime time.Duration `json:"-"`
	// Bytes is by how much the heap had grown when the set was compiled. What sets
	// have in common, such as compiled patterns, counts for the first.
	Bytes int64 `json:"bytes"`
}

// Stats returns what the rule set costs.
func (e *Engine) Stats() Stats { return e.stats }

// Rules returns the rules by id. They must not be changed.
func (e *Engine) Rules() []Rule { return e.rules }

// Key is a hash of all that the set was made of. Sets with the same one are alike.
func (e *Engine) Key() string { return e.key }

// Close gives back what the set shares with others. Sessions must have ended.
func (e *Engine) Close() error { return closeWAF(e.waf) }

// manifest is what the sets were made of, by the text of their configuration: a file can
// name further ones.
var manifest struct {
	sync.Mutex
	parts map[string]parts
}

// parts are names of files, and patterns of such names.
type parts struct{ names, globs []string }

// maxManifest bounds what is known of configurations that may be long gone.
const maxManifest = 256

// Plan is a rule set that is not compiled yet.
type Plan struct {
	sources  []source
	text     string
	paranoia int
}

// Prepare finds the files of a rule set. The options must be valid.
func Prepare(o *Options, limits Limits) (*Plan, error) {
	list, err := o.sources(limits)
	if err != nil {
		return nil, err
	}
	p := &Plan{sources: list, paranoia: o.Paranoia, text: fmt.Sprintf("%d\n", o.Paranoia)}
	for _, s := range list {
		p.text += fmt.Sprintf("%q %q\n", s.text, s.file)
	}
	return p, nil
}

// Key returns what Engine.Key will be, and false when that is not known before the set
// has been compiled once.
func (p *Plan) Key() (string, bool) {
	manifest.Lock()
	known, ok := manifest.parts[p.text]
	manifest.Unlock()
	if !ok {
		return "", false
	}
	f := newFiles()
	for _, name := range known.names {
		_, _ = f.load(name)
	}
	for _, pattern := range known.globs {
		_, _ = f.expand(pattern)
	}
	return f.fingerprint(p.text), true
}

// Compile makes the rule set. Errors name file, line and rule.
func (p *Plan) Compile() (*Engine, error) {
	RegisterOperator()
	f := newFiles()
	before, start := heap(), time.Now()
	waf, rules, err := compile(p.sources, f)
	if err != nil {
		return nil, err
	}
	e := &Engine{waf: waf, rules: rules, paranoia: p.paranoia, stats: Stats{Rules: len(rules), CompileTime: time.Since(start)}}
	e.stats.Bytes = max(heap()-before, 0)
	if f.mentions(targetUpdates) {
		for i := range rules {
			rules[i].looks = allCollections
		}
	}
	for _, r := range rules {
		e.logging = e.logging || r.Phase == 5 && !bookkeeping(r.ID)
	}
	manifest.Lock()
	if len(manifest.parts) >= maxManifest || manifest.parts == nil {
		manifest.parts = make(map[string]parts)
	}
	manifest.parts[p.text] = parts{slices.Collect(maps.Keys(f.read)), slices.Collect(maps.Keys(f.globs))}
	manifest.Unlock()
	e.key = f.fingerprint(p.text)
	tx := waf.NewTransaction()
	defer tx.Close()
	if _, ok := tx.(remover); !ok {
		return nil, errors.New("the engine can't take rules out for single requests")
	}
	return e, nil
}

// targetUpdates give rules more to look at than their source says.
var targetUpdates = regexp.MustCompile(`(?i)SecRuleUpdateTarget`)

// heap returns the bytes that are in use. What is only kept by a finalizer goes with the
// second collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Removal looks an exclusion up among the rules of the set. A rule or tag that is not
// there is an error.
func (e *Engine) Removal(x *Exclusion) (*Removal, error) { return x.look(e.rules) }
