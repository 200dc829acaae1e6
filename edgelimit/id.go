package edgelimit

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
)

// idSize is the length of a key's id in bytes.
const idSize = 16

// appendID appends what names a key in this process, whatever is in it.
func appendID(buf []byte, k gcra.Key) []byte {
	a, b := k.Words()
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(buf, a), b)
}

// idOf is the form in which the admin API and the log show a key's id.
func idOf(k gcra.Key) string { return hex.EncodeToString(appendID(nil, k)) }

// parseID is the reverse for the form in which the admin API shows ids.
func parseID(s string) (gcra.Key, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != idSize {
		return gcra.Key{}, fmt.Errorf("id: invalid value %q: want %d hexadecimal digits", s, 2*idSize)
	}
	return gcra.KeyOf(binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])), nil
}
