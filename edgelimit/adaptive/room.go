package adaptive

import "time"

// StreamRoom refuses a request that wants to become a stream, such as one with
// an Upgrade field, while the client would find no place among the streams. A
// request that is not refused still has to Acquire a slot: whether it becomes a
// stream is for the origin to say.
func (l *Limiter) StreamRoom(now time.Time, client uint64) Refusal {
	l.mu.Lock()
	defer l.unlock()
	l.tick(now)
	if !l.full(holdsStream, client) {
		return Refusal{}
	}
	l.count(StreamsFull)
	return l.refusal(StreamsFull)
}
