package lease

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Key stands for a client in one zone. It is the same on all nodes that share a
// secret, and finding another client with the same key is out of reach.
type Key [16]byte

// String is the key in hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Hasher makes the keys of one zone: the first half of a SHA-256.
type Hasher struct{ salt [16]byte }

// NewHasher returns the hasher of a zone. The secret may be empty; then whoever
// can read the keys can find out by trial which of them stands for a known
// address. All nodes need the same secret.
func NewHasher(secret, zone string) Hasher {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(secret)))
	b = append(append(b, secret...), zone...)
	sum := sha256.Sum256(b)
	return Hasher{salt: [16]byte(sum[:16])}
}

// Key returns the key of a client. It does not allocate for clients of up to 112
// bytes.
func (h Hasher) Key(client []byte) Key {
	var buf [128]byte
	b := append(append(buf[:0], h.salt[:]...), client...)
	sum := sha256.Sum256(b)
	return Key(sum[:16])
}
