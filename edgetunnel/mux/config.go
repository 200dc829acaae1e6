package mux

import "time"

// Defaults of Config.
const (
	DefaultWindow     = 64 << 10
	DefaultMaxWindow  = 4 << 20
	DefaultMemory     = 64 << 20
	DefaultMaxStreams = 1000
	DefaultHeartbeat  = 2 * time.Second
)

// silence is how many heartbeats long a peer may be silent.
const silence = 3

// Config says what a session may take. Zero values stand for the defaults.
type Config struct {
	// Window is how many bytes of a stream may be under way at first, in each direction.
	// Both sides must have the same, 16 KiB or more. Default: 64 KiB.
	Window int
	// MaxWindow is what a window may grow to. Default: 4 MiB.
	MaxWindow int
	// Memory bounds what this side holds for streams that are read too slowly: the sum of
	// their windows. Default: 64 MiB.
	Memory int64
	// MaxStreams bounds the streams at a time. Default: 1000.
	MaxStreams int
	// Heartbeat is how often something is sent at least. A peer that sends nothing for
	// three times as long is dead. Default: 2s.
	Heartbeat time.Duration
	// Accept is called with each stream that the peer opens, on the goroutine that reads:
	// it must not block. Nil refuses all.
	Accept func(*Stream)
	// Control is called likewise with each message of the peer's, which it may keep. Nil
	// ignores them.
	Control func([]byte)
}

func (c Config) withDefaults() Config {
	orDefault(&c.Window, DefaultWindow)
	orDefault(&c.MaxWindow, DefaultMaxWindow)
	orDefault(&c.Memory, DefaultMemory)
	orDefault(&c.MaxStreams, DefaultMaxStreams)
	orDefault(&c.Heartbeat, DefaultHeartbeat)
	c.Window = max(c.Window, maxPayload)
	c.MaxWindow = max(c.MaxWindow, c.Window)
	return c
}

func orDefault[T comparable](value *T, usual T) {
	var zero T
	if *value == zero {
		*value = usual
	}
}
