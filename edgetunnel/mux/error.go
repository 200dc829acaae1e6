package mux

import (
	"errors"
	"fmt"
)

// Code tells the peer why a stream was reset.
type Code uint8

const (
	// CodeCanceled is of a side that has lost interest.
	CodeCanceled Code = iota + 1
	// CodeRefused is of a side that does not take the stream: nobody has looked at it.
	CodeRefused
	// CodeInternal is of a side that can't go on.
	CodeInternal
)

// String implements fmt.Stringer.
func (c Code) String() string {
	switch c {
	case CodeCanceled:
		return "canceled"
	case CodeRefused:
		return "refused"
	case CodeInternal:
		return "internal error"
	default:
		return fmt.Sprintf("code %d", uint8(c))
	}
}

// ResetError is the error of a stream that the peer has reset.
type ResetError struct{ Code Code }

// Error implements error.
func (e ResetError) Error() string { return "the peer has reset the stream: " + e.Code.String() }

// Errors of sessions and streams.
var (
	// ErrClosed is that of a session or stream that this side has closed.
	ErrClosed = errors.New("closed")
	// ErrTooMany is returned by Open when there is no room for another stream.
	ErrTooMany = errors.New("too many streams")
	// ErrDead is that of a session whose peer has been silent for too long.
	ErrDead error = deadError{}
)

// deadError is a timeout (net.Error).
type deadError struct{}

func (deadError) Error() string   { return "the peer has sent nothing for too long" }
func (deadError) Timeout() bool   { return true }
func (deadError) Temporary() bool { return false }

// protocolError is that of a peer which breaks the protocol.
type protocolError string

func (e protocolError) Error() string { return "the peer breaks the protocol: " + string(e) }
