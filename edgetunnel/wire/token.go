package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// Hash is the SHA-256 of a secret. That is enough, since secrets are random.
type Hash [sha256.Size]byte

// String returns the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads a hash in hexadecimal digits.
func ParseHash(text string) (h Hash, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, errors.New("want the SHA-256 of a secret in 64 hexadecimal digits")
	}
	return Hash(b), nil
}

// Matches reports whether secret has this hash, in a time that does not depend on where
// they differ.
func (h Hash) Matches(secret string) bool {
	got := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(got[:], h[:]) == 1
}

// secretSize is that of a new secret, in random bytes.
const secretSize = 32

// NewSecret makes a secret and its hash.
func NewSecret() (secret string, hash Hash) {
	var b [secretSize]byte
	_, _ = rand.Read(b[:]) // never fails
	secret = base64.RawURLEncoding.EncodeToString(b[:])
	return secret, sha256.Sum256([]byte(secret))
}

// CutToken splits a token into its id and its secret. The error never shows the secret.
func CutToken(token string) (id, secret string, err error) {
	id, secret, ok := strings.Cut(strings.TrimSpace(token), ".")
	if !ok || secret == "" {
		return "", "", errors.New("a token consists of an id, a dot and a secret")
	}
	if strings.ContainsFunc(secret, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", "", errors.New("a token is one line without spaces")
	}
	if CheckName(id) != nil {
		return "", "", errors.New("the id of a token consists of lower-case letters, digits, - and _")
	}
	return id, secret, nil
}
