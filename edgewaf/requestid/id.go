// Package requestid makes and checks the ids by which a request is known in the logs of
// everybody that it passes.
package requestid

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// MaxLength is the longest id that is accepted, in bytes.
const MaxLength = 128

// Version is a version of UUIDs (RFC 9562).
type Version uint8

// V4 are random, V7 begin with the time in milliseconds, so that they are in order.
const (
	V4 Version = 4
	V7 Version = 7
)

// New returns an id. The time is for V7.
func New(v Version, now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	if v == V7 {
		ms := uint64(now.UnixMilli())
		for i := range 6 {
			b[i] = byte(ms >> (40 - 8*i))
		}
	}
	b[6] = b[6]&0x0f | byte(v)<<4
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], b[:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// Valid reports whether an id from elsewhere may be used: 1 to MaxLength letters,
// digits and "-_.:/+=~", which mean nothing in logs, fields or JSON.
func Valid(id string) bool {
	if id == "" || len(id) > MaxLength {
		return false
	}
	for i := range len(id) {
		if !allowed[id[i]] {
			return false
		}
	}
	return true
}

var allowed = func() (all [256]bool) {
	for _, c := range []byte("-_.:/+=~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		all[c] = true
	}
	return all
}()
