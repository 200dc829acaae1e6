// Command bench measures the whole server: its own generator drives a freshly
// built binary over loopback, beside a baseline in the same process and, where
// they are installed, nginx and Varnish. It tells figures and never fails because
// of one: its exit status is 0 unless it could not measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// row is one measurement.
type row struct {
	name, about string
	run         func(context.Context, *bench) error
}

// suite is a set of rows.
type suite struct {
	name string // of what they measure
	rows []row
}

var suites = []suite{{"cache", cacheRows}, {"limit", limitRows}, {"breaker", breakerRows}, {"waf", wafRows}, {"tunnel", tunnelRows}}

// bench is what all rows work with.
type bench struct {
	short    bool
	profiles string // directory for profiles; "" keeps none
	dir      string // temporary files
	server   string // the built binary
	origin   *origin
	table    *table
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	b := &bench{table: &table{out: out}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&b.short, "short", false, "measure less: minutes instead of half an hour")
	flags.StringVar(&b.profiles, "profiles", "", "keep profiles of the hit rows in this `directory`")
	flags.Usage = func() { usage(flags) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	rows, err := choose(flags.Args())
	if err != nil {
		return err
	}
	if b.profiles != "" {
		if err := os.MkdirAll(b.profiles, 0o755); err != nil { //nolint:gosec // profiles are no secrets
			return err
		}
	}
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.server, err = buildServer(ctx, b.dir); err != nil {
		return err
	}
	if b.origin, err = startOrigin(); err != nil {
		return err
	}
	defer b.origin.close()

	b.table.head()
	var errs []error
	for _, r := range rows {
		if ctx.Err() != nil {
			break
		}
		b.table.row = r.name
		if err := r.run(ctx, b); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// choose returns the rows that the arguments name, in their order and each once: an
// argument is a suite or a row. No arguments mean everything.
func choose(args []string) ([]row, error) {
	if len(args) == 0 {
		for _, s := range suites {
			args = append(args, s.name)
		}
	}
	var chosen []row
	for _, name := range args {
		rows := named(name)
		if len(rows) == 0 {
			return nil, fmt.Errorf("unknown suite or row %q (see -h)", name)
		}
		for _, r := range rows {
			if !slices.ContainsFunc(chosen, func(c row) bool { return c.name == r.name }) {
				chosen = append(chosen, r)
			}
		}
	}
	return chosen, nil
}

// named returns the rows of the suite with this name, or the row with it, or none. No
// row has the name of a suite.
func named(name string) []row {
	for _, s := range suites {
		if s.name == name {
			return s.rows
		}
		for _, r := range s.rows {
			if r.name == name {
				return []row{r}
			}
		}
	}
	return nil
}

func usage(flags *flag.FlagSet) {
	var text strings.Builder
	text.WriteString("Usage: bench [-short] [-profiles DIR] [SUITE|ROW]...\n\n")
	for _, s := range suites {
		fmt.Fprintf(&text, "Rows of %s:\n", s.name)
		for _, r := range s.rows {
			fmt.Fprintf(&text, "  %-15s %s\n", r.name, r.about)
		}
	}
	text.WriteString("\nOptions:\n")
	fmt.Fprint(flags.Output(), text.String())
	flags.PrintDefaults()
}
