package wire

import "fmt"

// Status is the agent's answer to a request, one byte in front of the response. Anything
// but Accepted means that nobody has got the request: it may be sent again, whatever it
// asks for.
type Status byte

const (
	// Accepted is sent when there is a connection to the backend, before anything of the
	// request is forwarded. But for requests without a body that change nothing, nothing is
	// before the edge has confirmed that it knows.
	Accepted Status = iota + 1
	// Refused is that of a backend which can't be connected to.
	Refused
	// TimedOut is that of a backend to which connecting took too long.
	TimedOut
	// Draining is that of an agent which takes no more requests.
	Draining
	// Overloaded is that of an agent which has no room.
	Overloaded
	// Unknown is that of an agent which has no such backend.
	Unknown
	// Invalid is that of a request which the agent can't read.
	Invalid
)

var statuses = [...]string{
	Accepted: "accepted", Refused: "refused", TimedOut: "timed_out", Draining: "draining",
	Overloaded: "overloaded", Unknown: "unknown_backend", Invalid: "invalid",
}

// String implements fmt.Stringer.
func (s Status) String() string {
	if s.Valid() {
		return statuses[s]
	}
	return fmt.Sprintf("status %d", byte(s))
}

// Valid reports whether there is such a status.
func (s Status) Valid() bool { return s >= Accepted && int(s) < len(statuses) }
