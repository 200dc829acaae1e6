package cfparse

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"
)

// Duration expects one duration above zero, such as 90s, 1h30m or 7d.
func (p *Parser) Duration(option string) (time.Duration, error) {
	word, err := p.one(option)
	if err != nil {
		return 0, err
	}
	d, err := ParseDuration(word)
	if err != nil {
		return 0, p.Errf(option, "%w", err)
	}
	return d, nil
}

// Off is what DurationOrOff returns for off, and what stands for it in JSON, where
// zero is the default.
const Off = -1

// DurationOrOff is like Duration but also accepts "off", which yields Off.
func (p *Parser) DurationOrOff(option string) (time.Duration, error) {
	word, err := p.one(option)
	if err != nil {
		return 0, err
	}
	if word == "off" {
		return Off, nil
	}
	d, err := ParseDuration(word)
	if err != nil {
		return 0, p.Errf(option, "%w, or off", err)
	}
	return d, nil
}

// ParseDuration parses a duration above zero. The error names the value.
func ParseDuration(word string) (time.Duration, error) {
	d, err := caddy.ParseDuration(word)
	switch {
	case err != nil:
		return 0, fmt.Errorf("invalid duration %q: want one such as 90s, 1h30m or 7d", word)
	case d <= 0:
		return 0, fmt.Errorf("invalid duration %q: must be above zero", word)
	}
	return d, nil
}

// Size expects one number of bytes above zero: 4096, 64KiB (1024 based) or
// 64KB (1000 based).
func (p *Parser) Size(option string) (int64, error) {
	word, err := p.one(option)
	if err != nil {
		return 0, err
	}
	size, err := ParseSize(word)
	if err != nil {
		return 0, p.Errf(option, "%w", err)
	}
	return size, nil
}

// ParseSize parses a number of bytes above zero, such as 4096, 64KiB or 256MiB.
func ParseSize(word string) (int64, error) {
	size, err := humanize.ParseBytes(word)
	switch {
	case err != nil:
		return 0, fmt.Errorf("invalid size %q: want bytes, such as 4096, 64KiB or 256MiB", word)
	case size == 0:
		return 0, fmt.Errorf("invalid size %q: must be above zero", word)
	case size > math.MaxInt64:
		return 0, fmt.Errorf("invalid size %q: too large", word)
	}
	return int64(size), nil
}

// Int expects one decimal integer from min to max, both included.
func (p *Parser) Int(option string, min, max int64) (int64, error) {
	word, err := p.one(option)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(word, 10, 64)
	switch {
	case err != nil:
		return 0, p.Errf(option, "invalid number %q", word)
	case n < min || n > max:
		return 0, p.Errf(option, "invalid number %q: must be from %d to %d", word, min, max)
	}
	return n, nil
}

// Ratio expects one decimal fraction from 0 to 1, both included.
func (p *Parser) Ratio(option string) (float64, error) {
	word, err := p.one(option)
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(word, 64)
	// The comparison is written so that NaN fails it.
	if err != nil || !(f >= 0 && f <= 1) {
		return 0, p.Errf(option, "invalid ratio %q: must be from 0 to 1", word)
	}
	return f, nil
}
