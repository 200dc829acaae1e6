package rfc9111

import (
	"slices"
	"strings"
)

// ParseVary parses the lines of a Vary field. The names are in canonical lower
// case, sorted and without duplicates. star says that no other request can match:
// there is a "*", or a member that is not a field name (RFC 9111 section 4.1).
func ParseVary(values []string) (names []string, star bool) {
	for _, line := range values {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.Trim(name, " \t")
			switch {
			case name == "":
			case name == "*" || !isToken(name):
				return nil, true
			default:
				names = append(names, strings.ToLower(name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}
