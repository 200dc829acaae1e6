package edgelimit

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Rate is a number of requests in a time, in configs a string such as "100/s",
// "5/m", "1000/h", "10000/d" or "30/10s". The zero value is no rate.
type Rate struct {
	N   int
	Per time.Duration
}

// String returns the rate in the form of configs.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	unit := r.Per.String()
	for _, zero := range []string{"m0s", "h0m"} { // 15m0s, 2h0m
		if strings.HasSuffix(unit, zero) {
			unit = unit[:len(unit)-2]
		}
	}
	if day := units["d"]; r.Per > day && r.Per%day == 0 {
		unit = strconv.FormatInt(int64(r.Per/day), 10) + "d"
	}
	for name, d := range units {
		if d == r.Per {
			unit = name
		}
	}
	return strconv.Itoa(r.N) + "/" + unit
}

var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// ParseRate parses a rate. It has to be above zero, and whole requests.
func ParseRate(s string) (Rate, error) {
	count, unit, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil {
		return Rate{}, fmt.Errorf("invalid rate %q: want a number and a time, such as 100/s, 5/m or 30/10s", s)
	}
	if n < 1 {
		return Rate{}, fmt.Errorf("invalid rate %q: must be at least 1; a slower one has a longer time, such as 1/10s", s)
	}
	per, ok := units[unit]
	if !ok {
		if per, err = caddy.ParseDuration(unit); err != nil || per <= 0 {
			return Rate{}, fmt.Errorf("invalid rate %q: invalid time %q: want s, m, h, d or a duration such as 10s", s, unit)
		}
	}
	return Rate{n, per}, nil
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*r = Rate{}
		return nil
	}
	*r, err = ParseRate(string(text))
	return err
}

// burst is the default burst of a rate: two seconds' worth of a rate by the
// second, otherwise everything that the rate's own time allows.
func (r Rate) burst() int {
	if r.Per <= time.Second {
		return 2 * r.N
	}
	return r.N
}
