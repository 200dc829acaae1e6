package hub

import (
	"errors"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// NotTakenError is that of a request which nobody has got, so that it may be sent to
// another agent, whatever it asks for.
type NotTakenError struct{ Status wire.Status }

// Error implements error.
func (e NotTakenError) Error() string {
	switch e.Status {
	case wire.Refused:
		return "the agent can't reach its backend"
	case wire.TimedOut:
		return "the agent reached its backend too late"
	case wire.Draining:
		return "the agent takes no more requests"
	case wire.Overloaded:
		return "the agent has too many requests"
	case wire.Unknown:
		return "the agent has no such backend"
	default:
		return "the agent did not take the request: " + e.Status.String()
	}
}

// Timeout reports whether it took too long.
func (e NotTakenError) Timeout() bool { return e.Status == wire.TimedOut }

// Temporary implements net.Error.
func (e NotTakenError) Temporary() bool { return true }

// timeoutError is that of an agent or backend that does not answer in time (net.Error).
type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// Errors of responses.
var (
	errAccept   error = timeoutError("the agent did not take the request in time")
	errHeader   error = timeoutError("the backend sent no response in time")
	errTooLong        = errors.New("the header of the response is too long")
	errNoStatus       = errors.New("the agent answered with something that is no status")
	errShort          = errors.New("the body of the request is shorter than its Content-Length")
	errLong           = errors.New("the body of the request is longer than its Content-Length")
)
