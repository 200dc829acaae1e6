package edgecache

import (
	"strconv"
	"strings"
)

// The codings that an origin is asked for; any other is left out of
// Accept-Encoding, since one more coding doubles the possible variants.
const (
	codingBrotli = 1 << iota
	codingGzip
	codingZstd
)

// codingValues are the canonical Accept-Encoding fields by set of codings. The
// empty set says identity, so that no transport adds a coding of its own.
var codingValues = [8]string{
	"identity", "br", "gzip", "br, gzip", "zstd", "br, zstd", "gzip, zstd", "br, gzip, zstd",
}

var canonicalCodings = func() map[string]bool {
	m := make(map[string]bool)
	for _, v := range codingValues {
		m[v] = true
	}
	return m
}()

// codingsOf returns the set of known codings that Accept-Encoding accepts (RFC
// 9110 section 12.5.3). A wildcard alone accepts none of them: identity is
// always a correct answer to it.
func codingsOf(values []string) int {
	set := 0
	for _, v := range values {
		for member := range strings.SplitSeq(v, ",") {
			name, params, _ := strings.Cut(member, ";")
			bit := 0
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "br":
				bit = codingBrotli
			case "gzip", "x-gzip":
				bit = codingGzip
			case "zstd":
				bit = codingZstd
			}
			if bit != 0 && quality(params) > 0 {
				set |= bit
			}
		}
	}
	return set
}

// quality returns the weight in the parameters of a list member, 1 when there is
// none and 0 when it is broken (RFC 9110 section 12.4.2).
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		return qvalue(strings.TrimSpace(value))
	}
	return 1
}

// qvalue reads 0 to 1 with three decimals at most; anything else is 0.
func qvalue(s string) float64 {
	whole, decimals, _ := strings.Cut(s, ".")
	if (whole != "0" && whole != "1") || len(decimals) > 3 || strings.Trim(decimals, "0123456789") != "" {
		return 0
	}
	q, err := strconv.ParseFloat(s, 64)
	if err != nil || q > 1 {
		return 0
	}
	return q
}

// language returns the configured language that Accept-Language wants most, of
// several wanted equally the one configured first (RFC 9110 section 12.5.4 gives
// their order no meaning), and the first configured one when it wants none.
func (h *Handler) language(values []string) string {
	best, bestQuality := 0, 0.0
	for _, v := range values {
		for member := range strings.SplitSeq(v, ",") {
			wanted, params, _ := strings.Cut(member, ";")
			q := quality(params)
			if i, ok := lookupLanguage(h.Languages, strings.TrimSpace(wanted)); ok && (q > bestQuality || q == bestQuality && i < best) {
				best, bestQuality = i, q
			}
		}
	}
	return h.Languages[best]
}

// lookupLanguage shortens the wanted range subtag by subtag until a configured
// language equals it (RFC 4647 section 3.4), and returns that one's index.
func lookupLanguage(have []string, wanted string) (int, bool) {
	for wanted != "" {
		for i, l := range have {
			if strings.EqualFold(l, wanted) {
				return i, true
			}
		}
		i := strings.LastIndexByte(wanted, '-')
		if i < 0 {
			break
		}
		wanted = wanted[:i]
	}
	return 0, false
}
