package main

import (
	"fmt"
	"io"
)

// table prints findings as they come.
type table struct {
	out io.Writer
	row string // name of the row that runs
}

// finding is one line of the table.
type finding struct {
	what     string
	measured string
	target   string
	// reached tells whether the target was; it counts only with a target.
	reached bool
	// beside are the figures of others in the same run.
	beside string
}

const lineFormat = "%-15s %-22s %-36s %-26s %-5s %s\n"

func (t *table) head() {
	fmt.Fprintf(t.out, lineFormat, "row", "what", "measured", "target", "", "beside")
}

func (t *table) add(f finding) {
	verdict := ""
	switch {
	case f.target == "":
	case f.reached:
		verdict = "ok"
	default:
		verdict = "MISS"
	}
	fmt.Fprintf(t.out, lineFormat, t.row, f.what, f.measured, f.target, verdict, f.beside)
}
