// Package cli is the root of the command `caddy edge`. Features register
// subcommands; packages may do so in any order of initialisation.
package cli

import (
	"cmp"
	"slices"
	"sync"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:      "edge",
		Usage:     "<command>",
		Short:     "Inspects and operates a running edge",
		Long:      "Inspects and operates a running edge through Caddy's admin endpoint.",
		CobraFunc: build,
	})
}

var (
	mu           sync.Mutex
	constructors []func() *cobra.Command
)

// Register adds a subcommand; packages call it from init. The constructor runs
// once for each command tree that Caddy builds, after all packages are
// initialised.
func Register(constructor func() *cobra.Command) {
	mu.Lock()
	defer mu.Unlock()
	constructors = append(constructors, constructor)
}

// build adds the subcommands to the root, ordered by name.
func build(root *cobra.Command) {
	mu.Lock()
	defer mu.Unlock()
	var commands []*cobra.Command
	for _, constructor := range constructors {
		commands = append(commands, constructor())
	}
	slices.SortFunc(commands, func(a, b *cobra.Command) int { return cmp.Compare(a.Name(), b.Name()) })
	root.AddCommand(commands...)
	// Cobra prints the help of a command that cannot run; with a runner an
	// unknown subcommand becomes an error instead of a silent success.
	root.Args = cobra.NoArgs
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}
