package wire

import (
	"encoding/json"
	"fmt"
)

// Message is one of the messages of a session, in JSON. Fields that a side does not know
// it ignores, as they come with a later minor version.
type Message struct {
	// Backends are all backends of an agent, as they are now. Null: nothing is said of
	// them.
	Backends []BackendState `json:"backends"`
	// Drain is set when the sender wants no more requests on the session, and will end
	// it when those under way are done.
	Drain bool `json:"drain,omitempty"`
	// Bye is why the edge ends the session.
	Bye string `json:"bye,omitempty"`
	// Away asks an agent that it stays away for so many milliseconds when the session
	// has ended.
	Away int64 `json:"away_ms,omitempty"`
}

// BackendState is what an agent tells of one of its backends.
type BackendState struct {
	Name string `json:"name"`
	// Weight is its share of the requests in relation to the others', 1 to 65535.
	Weight int `json:"weight"`
	// Unhealthy is set when the agent's check of the backend fails.
	Unhealthy bool `json:"unhealthy,omitempty"`
	// Load is how many requests of all edges the agent has for it under way.
	Load int `json:"load,omitempty"`
}

// Encode returns the message as it is sent.
func (m Message) Encode() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // all its fields can be encoded
	}
	return b
}

// ParseMessage reads a message and checks it.
func ParseMessage(b []byte) (m Message, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("reading a message: %w", err)
	}
	if len(m.Backends) > MostBackends {
		return m, fmt.Errorf("reading a message: %d backends: must be %d at most", len(m.Backends), MostBackends)
	}
	for _, b := range m.Backends {
		if err := CheckName(b.Name); err != nil {
			return m, fmt.Errorf("reading a message: %w", err)
		}
		if b.Weight < 1 || b.Weight > MostWeight || b.Load < 0 {
			return m, fmt.Errorf("reading a message: backend %s: invalid weight %d or load %d", b.Name, b.Weight, b.Load)
		}
	}
	return m, nil
}
