package rfc9111

import (
	"strings"
	"time"
)

// pivotYear is the first two-digit year that ParseDate takes to be of the 20th
// century; net/http has the same.
const pivotYear = 69

var (
	months    = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	weekdays  = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	longNames = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
)

// ParseDate parses an HTTP-date in any of the three formats of RFC 9110 section
// 5.6.7: IMF-fixdate, RFC 850 and asctime. Letters may be in any case; all else
// must be exact: no other zone than GMT, no missing zeros, no extra spaces. The
// day of the week must be one, but need not be the right one. A two-digit year
// below 69 is of this century; see ParseDateAt for the rule that depends on the
// time. The result is in UTC.
func ParseDate(s string) (time.Time, bool) {
	return parseDate(s, func(year int) int {
		if year >= pivotYear {
			return 1900 + year
		}
		return 2000 + year
	})
}

// ParseDateAt is ParseDate with the rule of RFC 9110 for the two-digit years of
// the RFC 850 format: the year is at most 50 after that of now, and less than 50
// before it.
func ParseDateAt(s string, now time.Time) (time.Time, bool) {
	return parseDate(s, func(year int) int {
		current := now.UTC().Year()
		full := current - current%100 + year
		switch {
		case full > current+50:
			full -= 100
		case full <= current-50:
			full += 100
		}
		return full
	})
}

func parseDate(s string, century func(int) int) (time.Time, bool) {
	comma := strings.IndexByte(s, ',')
	switch {
	case comma == 3:
		return parseIMF(s)
	case comma > 3:
		return parseRFC850(s, comma, century)
	default:
		return parseAsctime(s)
	}
}

// parseIMF parses "Sun, 06 Nov 1994 08:49:37 GMT".
func parseIMF(s string) (time.Time, bool) {
	if len(s) != 29 || !oneOf(s[:3], weekdays[:]) || s[4] != ' ' || s[7] != ' ' || s[11] != ' ' ||
		s[16] != ' ' || !strings.EqualFold(s[25:], " GMT") {
		return time.Time{}, false
	}
	day, ok1 := digits(s[5:7])
	year, ok2 := digits(s[12:16])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	return civil(year, s[8:11], day, s[17:25])
}

// parseRFC850 parses "Sunday, 06-Nov-94 08:49:37 GMT".
func parseRFC850(s string, comma int, century func(int) int) (time.Time, bool) {
	name, rest := s[:comma], s[comma+1:]
	if len(rest) != 23 || !oneOf(name, longNames[:]) || rest[0] != ' ' || rest[3] != '-' || rest[7] != '-' ||
		rest[10] != ' ' || !strings.EqualFold(rest[19:], " GMT") {
		return time.Time{}, false
	}
	day, ok1 := digits(rest[1:3])
	year, ok2 := digits(rest[8:10])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	return civil(century(year), rest[4:7], day, rest[11:19])
}

// parseAsctime parses "Sun Nov  6 08:49:37 1994".
func parseAsctime(s string) (time.Time, bool) {
	if len(s) != 24 || !oneOf(s[:3], weekdays[:]) || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' {
		return time.Time{}, false
	}
	dd := s[8:10]
	if dd[0] == ' ' {
		dd = dd[1:]
	}
	day, ok1 := digits(dd)
	year, ok2 := digits(s[20:24])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	return civil(year, s[4:7], day, s[11:19])
}

// civil assembles a time; clock is "15:04:05", in which 60 is a leap second.
func civil(year int, monthName string, day int, clock string) (time.Time, bool) {
	month := 0
	for i, name := range months {
		if strings.EqualFold(name, monthName) {
			month = i + 1
		}
	}
	hour, ok1 := digits(clock[0:2])
	minute, ok2 := digits(clock[3:5])
	second, ok3 := digits(clock[6:8])
	if month == 0 || !ok1 || !ok2 || !ok3 || clock[2] != ':' || clock[5] != ':' ||
		hour > 23 || minute > 59 || second > 60 || day < 1 {
		return time.Time{}, false
	}
	// time.Date turns 30 February into 1 or 2 March; that is not a date.
	if time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC), true
}

// digits parses a short string that must consist of digits.
func digits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(s) > 0
}

func oneOf(s string, names []string) bool {
	for _, name := range names {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}

// dateField returns the date in the named field (canonical form). Several lines
// count only when they are equal: which of two dates is meant cannot be known.
func dateField(values []string, now time.Time) (time.Time, bool) {
	if len(values) == 0 {
		return time.Time{}, false
	}
	for _, v := range values[1:] {
		if v != values[0] {
			return time.Time{}, false
		}
	}
	return ParseDateAt(strings.Trim(values[0], " \t"), now)
}
