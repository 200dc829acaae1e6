// Package target checks and normalises the path and the query of a request target
// (RFC 9110 section 7.1), so that everybody behind sees one form of it.
//
// A rule that names a path can be got around when a server behind it reads the path in
// another way than the rule does. So what can be read in more than one way is a fault,
// and what has several spellings of one meaning (RFC 3986 section 6.2.2) gets one of
// them.
package target

import "strings"

// Fault is one thing that is wrong with a target.
type Fault uint16

const (
	// Encoding: a "%" in the path without two hexadecimal digits.
	Encoding Fault = 1 << iota
	// Overlong: bytes that some decoders take for ASCII, though UTF-8 has them not
	// (RFC 3629 section 3), such as %C0%AE for a dot.
	Overlong
	// NUL: the byte zero in the path.
	NUL
	// Control: another control character in the path.
	Control
	// Backslash: some servers take it for a slash.
	Backslash
	// Traversal: a segment "..", in any encoding, also with a path parameter behind
	// it, or one that is left over when dot segments are resolved.
	Traversal
	// DoubleEncoding: an escape that is itself escaped, of a character that need not
	// be, of a slash, a backslash or a control character.
	DoubleEncoding
	// Parameter: a semicolon in the path. Servlet containers drop what follows it in
	// the segment.
	Parameter
	// QueryNUL: the byte zero in the query.
	QueryNUL
	// QueryEncoding: a "%" in the query without two hexadecimal digits.
	QueryEncoding
)

var names = []string{
	"encoding", "overlong", "nul", "control", "backslash", "traversal", "double_encoding", "parameter", "query_nul", "query_encoding",
}

// Has reports whether all of the other faults are there.
func (f Fault) Has(other Fault) bool { return f&other == other }

// String lists the faults by name.
func (f Fault) String() string {
	var list []string
	for i, name := range names {
		if f.Has(1 << i) {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}
