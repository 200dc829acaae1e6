package gcra

import "hash/maphash"

// Key stands for the bytes of a key in every table of this process. It is made
// with seeds that nobody outside can know and is of no use to another process.
//
// A table takes the index of the set from one half and the 48-bit fingerprint
// from the other. A set has four slots, so a key is taken for another one with a
// probability of at most 2^-46 per look-up (2^-45 counting the one fingerprint
// that stands for two), whatever keys a client may choose.
type Key struct {
	set, print uint64
}

var setSeed, printSeed = maphash.MakeSeed(), maphash.MakeSeed()

// Hash returns the key of b. It keeps no reference to b.
func Hash(b []byte) Key {
	return Key{maphash.Bytes(setSeed, b), maphash.Bytes(printSeed, b)}
}

// HashString returns the key of s, the same as Hash of its bytes.
func HashString(s string) Key {
	return Key{maphash.String(setSeed, s), maphash.String(printSeed, s)}
}

// Odd constants from the fractions of the golden ratio and of the square root
// of two.
const (
	setStep   = 0x6a09e667f3bcc909
	printStep = 0x9e3779b97f4a7c15
)

// With returns the key for one of several levels of the same bytes, such as the
// number of a zone or of a prefix length. It costs two multiplications. Keys
// with different levels below 2^32 never share a fingerprint; level 0 is k
// itself. Levels add up: k.With(1).With(2) is k.With(3).
func (k Key) With(level uint64) Key {
	return Key{k.set + level*setStep, k.print + level*printStep}
}

// fingerprint returns the 48 bits that tell keys of one set apart. It is never 0,
// which marks an empty slot.
func (k Key) fingerprint() uint64 {
	return max(k.print>>genBits, 1)
}

// Words returns what k consists of, for tables of other kinds and for showing
// it. It must not be shown to clients, who could look for collisions.
func (k Key) Words() (uint64, uint64) { return k.set, k.print }

// KeyOf is the reverse of [Key.Words].
func KeyOf(a, b uint64) Key { return Key{a, b} }
