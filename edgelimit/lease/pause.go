package lease

import "time"

// Pause is the time from the end of a round to the next one: interval and half
// of the time the round took, times 0.5 to 1.5. random is from 0 to 1.
//
// When a key is wanted everywhere, a node gets what came in since another one
// asked. With equal rounds the order of the nodes would never change, and the
// last would always get least.
func Pause(interval, took time.Duration, random float64) time.Duration {
	return time.Duration(float64(interval+took/2) * (0.5 + random))
}
