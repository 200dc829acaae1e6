package adaptive

import "time"

// Reason says why a request was refused.
type Reason uint8

const (
	// Admitted means that it was not.
	Admitted Reason = iota
	// LimitReached means that the part of the limit that the class may use is
	// in flight.
	LimitReached
	// OverShare means that the client used more than its fair share while
	// others needed theirs.
	OverShare
	// UploadsFull means that the cap of uploads is reached, or this client's
	// share of it or of the limit.
	UploadsFull
	// StreamsFull means that the cap of streams is reached, or this client's
	// share of it.
	StreamsFull
	// QueueFull means that the limit was reached and no place to wait was left,
	// to anybody or to this client.
	QueueFull
	// QueueDeadline means that the request waited in vain.
	QueueDeadline
	// ClientLeft means that the request's context ended while it waited.
	ClientLeft

	reasons
)

var reasonNames = [reasons]string{
	"admitted", "limit_reached", "over_share", "uploads_full", "streams_full",
	"queue_full", "queue_deadline", "client_left",
}

// String returns a stable name for logs, metrics and replies.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return reasonNames[r]
}

// Refusal is the answer to a request that may not go to the origin. The zero
// value means that it may.
type Refusal struct {
	Reason Reason
	// RetryAfter is when another attempt is likely to succeed. For OverShare it
	// is the time in which the client's usage decays to what is allowed at
	// present. Otherwise it is the P95 of the last window, in which all but few
	// of the requests now in flight will have been answered (the target as long
	// as there was no window). It is at least 1 ms and at most 1 minute.
	RetryAfter time.Duration
}

// Refused reports whether the request may not go to the origin.
func (r Refusal) Refused() bool { return r.Reason != Admitted }

func refusal(reason Reason, retryAfter time.Duration) Refusal {
	return Refusal{reason, min(max(retryAfter, time.Millisecond), time.Minute)}
}
