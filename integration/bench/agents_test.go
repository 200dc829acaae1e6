package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAgentState(t *testing.T) {
	a := agentState{Agent: "a", Since: time.Unix(1, 0), Remote: "r"}
	require.True(t, a.same(a))
	require.False(t, a.same(agentState{}))
	require.False(t, a.same(agentState{Agent: "a", Since: time.Unix(2, 0), Remote: "r"}))
	require.False(t, a.serves())
}
