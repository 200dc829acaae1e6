package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// agentState is a part of what GET /edge/tunnel/agents tells of an agent.
type agentState struct {
	Agent     string    `json:"agent"`
	Since     time.Time `json:"since"`
	Remote    string    `json:"remote"`
	RTT       float64   `json:"rtt_ms"`
	DataConns int       `json:"data_conns"`
	Draining  bool      `json:"draining"`
	Backends  []struct {
		Serving bool `json:"serving"`
	} `json:"backends"`
}

// serves reports whether it has a backend that takes requests.
func (a agentState) serves() bool {
	for _, b := range a.Backends {
		if b.Serving {
			return true
		}
	}
	return false
}

// same reports whether it is the session of another state.
func (a agentState) same(other agentState) bool {
	return a.Agent == other.Agent && a.Since.Equal(other.Since) && a.Remote == other.Remote
}

// agents returns those that are connected, by name.
func (a *admin) agents(ctx context.Context) (map[string]agentState, error) {
	var reply struct {
		Agents []agentState `json:"agents"`
	}
	out, err := a.call(ctx, "/edge/tunnel/agents", nil)
	if err == nil {
		err = json.Unmarshal(out, &reply)
	}
	agents := make(map[string]agentState)
	for _, s := range reply.Agents {
		agents[s.Agent] = s
	}
	return agents, err
}

// awaitLanes returns when an agent has that many connections beside the first.
func (t *tunnel) awaitLanes(ctx context.Context, name string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		agents, err := t.admin.agents(ctx)
		if err == nil && agents[name].DataConns >= n {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(pollPause)) {
			return fmt.Errorf("waiting for %d data connections of %s: %w", n, name, ctx.Err())
		}
	}
}
