package target

import (
	"net/netip"
	"strconv"
	"strings"
)

// ValidHost reports whether s can be a Host field (RFC 9110 section 7.2): the name of a
// host of at most 253 characters, an IPv4 address, or an IPv6 address in brackets, each
// with a port or without. Names have letters, digits, "-" and "_"; those in other
// scripts must be in their ASCII form (RFC 5890).
func ValidHost(s string) bool {
	name, port, ok := cutPort(s)
	if !ok {
		return false
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || len(port) > 5 {
			return false
		}
	}
	if strings.HasPrefix(name, "[") {
		a, err := netip.ParseAddr(name[1 : len(name)-1])
		return err == nil && a.Is6() && a.Zone() == ""
	}
	return validName(strings.TrimSuffix(name, "."))
}

// HostName returns the name or address in a Host field, in lower case, without the port
// and without a dot at the end.
func HostName(s string) string {
	name, _, _ := cutPort(s)
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// cutPort parts a host from its port. Not ok says that brackets don't match.
func cutPort(s string) (name, port string, ok bool) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return s, "", false
		}
		name, port = s[:end+1], s[end+1:]
		if port == "" {
			return name, "", true
		}
		return name, port[1:], port[0] == ':' && len(port) > 1
	}
	name, port, found := strings.Cut(s, ":")
	return name, port, !found || port != ""
}

// validName reports whether a name of a host is well formed: labels of 1 to 63
// characters, of which "-" is neither the first nor the last. One that ends in a number
// is an address, and must be a valid one (RFC 3986 section 3.2.2).
func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && c != '_' && (class[c]&unreserved == 0 || c == '.' || c == '~') {
				return false
			}
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" || len(last) > 1 && (last[:2] == "0x" || last[:2] == "0X") {
		a, err := netip.ParseAddr(name)
		return err == nil && a.Is4()
	}
	return true
}
