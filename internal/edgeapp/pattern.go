package edgeapp

import "strings"

// hostsOverlap compares two host patterns of Caddy, in which * is one label.
func hostsOverlap(a, b string) bool {
	return matchLabels(a, b, func(x, y string) bool {
		return x == y || strings.ContainsAny(x+y, "*{")
	})
}

// hostCovers reports whether outer matches all hosts that inner matches.
func hostCovers(outer, inner string) bool {
	return matchLabels(outer, inner, func(x, y string) bool { return x == y || x == "*" && !strings.Contains(y, "{") })
}

func matchLabels(a, b string, match func(x, y string) bool) bool {
	// A placeholder may stand for several labels.
	if strings.Contains(a+b, "{") {
		return match(a, b)
	}
	as := strings.Split(strings.ToLower(a), ".")
	bs := strings.Split(strings.ToLower(b), ".")
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		if !match(as[i], bs[i]) {
			return false
		}
	}
	return true
}

// pathPattern is a path pattern of Caddy that is either exact or a prefix.
type pathPattern struct {
	literal string
	prefix  bool
}

// parsePath fails for the patterns whose meaning is more complicated: inner
// wildcards, escapes, placeholders and double slashes.
func parsePath(pattern string) (pathPattern, bool) {
	literal, prefix := strings.CutSuffix(strings.ToLower(pattern), "*")
	ok := !strings.ContainsAny(literal, "*%{") && !strings.Contains(literal, "//")
	return pathPattern{literal, prefix}, ok
}

func pathsOverlap(a, b string) bool {
	pa, oka := parsePath(a)
	pb, okb := parsePath(b)
	switch {
	case !oka || !okb:
		return true
	case pa.prefix && pb.prefix:
		return strings.HasPrefix(pa.literal, pb.literal) || strings.HasPrefix(pb.literal, pa.literal)
	case pa.prefix:
		return strings.HasPrefix(pb.literal, pa.literal)
	case pb.prefix:
		return strings.HasPrefix(pa.literal, pb.literal)
	default:
		return pa.literal == pb.literal
	}
}

func pathCovers(outer, inner string) bool {
	po, oko := parsePath(outer)
	pi, oki := parsePath(inner)
	switch {
	case !oko || !oki:
		return outer == inner
	case po.prefix:
		return strings.HasPrefix(pi.literal, po.literal)
	default:
		return po == pi
	}
}
