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

var suites = []suite{{"cache", cacheRows}, {"limit", limitRows}, {"breaker", breakerRows}, {"waf", wafRows}}

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

// choose returns the rows that the arguments name: a suite and, maybe, rows of
// it. No arguments mean everything.
func choose(args []string) ([]row, error) {
	if len(args) == 0 {
		var all []row
		for _, s := range suites {
			all = append(all, s.rows...)
		}
		return all, nil
	}
	i := slices.IndexFunc(suites, func(s suite) bool { return s.name == args[0] })
	if i < 0 {
		return nil, fmt.Errorf("unknown suite %q (see -h)", args[0])
	}
	rows := suites[i].rows
	if len(args) == 1 {
		return rows, nil
	}
	var chosen []row
	for _, name := range args[1:] {
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown row %q (see -h)", name)
		}
		chosen = append(chosen, rows[i])
	}
	return chosen, nil
}

func usage(flags *flag.FlagSet) {
	var text strings.Builder
	text.WriteString("Usage: bench [-short] [-profiles DIR] [SUITE [ROW...]]\n\n")
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
