package rules

import (
	_ "embed"
	"sync"
)

//go:embed basic.yaml
var basicText []byte

// Basic returns the pack that comes with the program, named basic: path traversal, SQL
// injection in query and body, and scanners that say who they are, which it blocks; and
// cross-site scripting, in shadow mode. It is a first line, and no replacement for the Core
// Rule Set.
var Basic = sync.OnceValue(func() *Pack {
	p, err := Parse("basic.yaml", basicText)
	if err != nil {
		panic(err) // a test reads it
	}
	return p
})
