package mux

import (
	"encoding/binary"
	"fmt"
)

// headerSize is the size of what is in front of each frame: its kind, the length of its
// payload in three bytes, and the number of its stream in four, big-endian.
const headerSize = 8

// kind is what a frame is for.
type kind uint8

const (
	kindOpen    kind = iota + 1 // begins a stream, with its first bytes
	kindData                    // bytes of a stream
	kindEnd                     // bytes of a stream, none come after them
	kindReset                   // ends a stream in both directions: one byte, the Code
	kindWindow                  // so many more bytes may be sent: four bytes
	kindPing                    // asks for a pong: eight bytes
	kindPong                    // answers a ping with its eight bytes
	kindControl                 // a message to the session; its stream is 0
	kindConfirm                 // the opener of a stream has got the answer: nothing
)

const (
	// maxPayload is how many bytes of a stream one frame has at most, so that streams take
	// turns. A whole frame is a whole record of TLS.
	maxPayload = 16<<10 - headerSize
	// MaxControl is the longest control message, in bytes.
	MaxControl = 64 << 10
)

// header is what is in front of a frame.
type header struct {
	kind   kind
	length int
	stream uint32
}

// appendHeader adds h to b.
func appendHeader(b []byte, h header) []byte {
	b = append(b, byte(h.kind), byte(h.length>>16), byte(h.length>>8), byte(h.length))
	return binary.BigEndian.AppendUint32(b, h.stream)
}

// parseHeader reads a header and checks all that does not depend on the session.
func parseHeader(b [headerSize]byte) (header, error) {
	h := header{kind(b[0]), int(b[1])<<16 | int(b[2])<<8 | int(b[3]), binary.BigEndian.Uint32(b[4:])}
	least, most, ofStream := 0, maxPayload, true
	switch h.kind {
	case kindOpen, kindData, kindEnd:
	case kindConfirm:
		most = 0
	case kindReset:
		least, most = 1, 1
	case kindWindow:
		least, most = 4, 4
	case kindPing, kindPong:
		least, most, ofStream = 8, 8, false
	case kindControl:
		most, ofStream = MaxControl, false
	default:
		return h, protocolError(fmt.Sprintf("unknown kind of frame %d", h.kind))
	}
	if h.length < least || h.length > most {
		return h, protocolError(fmt.Sprintf("frame of kind %d with %d bytes", h.kind, h.length))
	}
	if ofStream != (h.stream != 0) {
		return h, protocolError(fmt.Sprintf("frame of kind %d for stream %d", h.kind, h.stream))
	}
	return h, nil
}
