package wire

import (
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"
)

// Protocol is the token of the Upgrade header (RFC 9110 section 7.8). Its number is the
// major version.
const Protocol = "edge-tunnel/1"

// Header fields of the request that begins a session, and of its response.
const (
	// HeaderVersion is the version that each side speaks.
	HeaderVersion = "Edge-Tunnel-Version"
	// HeaderAgent is the agent's name, of the request.
	HeaderAgent = "Edge-Tunnel-Agent"
	// HeaderInstance tells the runs of an agent apart, of the request: a session of
	// another instance replaces the one before.
	HeaderInstance = "Edge-Tunnel-Instance"
	// HeaderBackends are the names of the backends, separated by commas, of the request.
	HeaderBackends = "Edge-Tunnel-Backends"
	// HeaderLane is present in the request for one more connection of an instance.
	HeaderLane = "Edge-Tunnel-Lane"
	// HeaderHeartbeat is the interval of heartbeats in milliseconds, of the response.
	HeaderHeartbeat = "Edge-Tunnel-Heartbeat"
)

// Version is that of the protocol which this side speaks.
var Version = semver.Version{Major: 1, Minor: 0, Patch: 0}

// Negotiate returns the version that both sides speak: the lower one of two with the
// same major version. Others do not understand each other.
func Negotiate(ours semver.Version, theirs string) (semver.Version, error) {
	v, err := semver.NewVersion(strings.TrimSpace(theirs))
	if err != nil {
		return semver.Version{}, fmt.Errorf("invalid version %.40q of the protocol", theirs)
	}
	if v.Major != ours.Major {
		return semver.Version{}, fmt.Errorf("version %s of the protocol is not supported: this side speaks %s", v, ours)
	}
	if v.LessThan(ours) {
		return *v, nil
	}
	return ours, nil
}

// Network is that of addresses in the tunnel: of backends for agents, of agents'
// backends for edges.
const Network = "edge_tunnel"

// Bounds of what may be configured.
const (
	LeastHeartbeat = 200 * time.Millisecond
	MostHeartbeat  = time.Minute
	// MostBackends is how many backends an agent may have.
	MostBackends = 256
	// MostLanes is how many connections an instance may have beside its first.
	MostLanes = 16
	// MostWeight is the greatest weight of a backend.
	MostWeight = 65535
)

// CheckName reports what is wrong with the name of a backend, an agent, an instance or a
// token: it consists of at most 63 lower-case letters, digits, - and _, and begins with
// a letter or digit.
func CheckName(name string) error {
	if name == "" {
		return fmt.Errorf("a name is missing")
	}
	if len(name) > 63 {
		return fmt.Errorf("invalid name %.63q...: is longer than 63 characters", name)
	}
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case (c == '-' || c == '_') && i > 0:
		default:
			return fmt.Errorf("invalid name %q: want lower-case letters, digits, - and _", name)
		}
	}
	return nil
}

// ParseBackends reads the value of HeaderBackends.
func ParseBackends(value string) ([]string, error) {
	words := strings.Split(value, ",")
	if len(words) > MostBackends {
		return nil, fmt.Errorf("%d backends: must be %d at most", len(words), MostBackends)
	}
	seen := make(map[string]bool)
	for i, word := range words {
		name := strings.TrimSpace(word)
		if err := CheckName(name); err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, fmt.Errorf("backend %q is named twice", name)
		}
		seen[name], words[i] = true, name
	}
	return words, nil
}
