package gcra

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPenalties(t *testing.T) {
	p, k := NewPenalties(0), HashString("192.0.2.1")
	require.Equal(t, New(0).Bytes(), p.Bytes())
	left, blocked := p.Blocked(k, 0)
	require.False(t, blocked)
	require.Zero(t, left)

	p.Block(k, 10*time.Second, 0)
	p.Block(k, time.Second, 0)
	p.Block(k, 0, 0)
	p.Block(k, -time.Second, 0)
	left, blocked = p.Blocked(k, 0)
	require.True(t, blocked)
	require.Equal(t, 10*time.Second, left, "a shorter penalty does not shorten it")
	require.Equal(t, 1, p.Count(0))

	p.Block(k, 8*time.Second, Time(5*time.Second))
	_, blocked = p.Blocked(k, Time(13*time.Second-256))
	require.True(t, blocked)
	_, blocked = p.Blocked(k, Time(13*time.Second))
	require.False(t, blocked)
	require.Zero(t, p.Count(Time(13*time.Second)))

	p.Block(k, time.Hour, Time(20*time.Second))
	require.True(t, p.Lift(k))
	require.False(t, p.Lift(k))
	_, blocked = p.Blocked(k, Time(20*time.Second))
	require.False(t, blocked)
}

func TestPenaltyIsBounded(t *testing.T) {
	p, k := NewPenalties(0), HashString("192.0.2.1")
	p.Block(k, math.MaxInt64, 0)
	left, _ := p.Blocked(k, 0)
	require.Equal(t, 208, int(left/(24*time.Hour)))
}

func TestShortestPenaltyMakesRoom(t *testing.T) {
	p := NewPenalties(0)
	for i := range 20 {
		p.Block(neighbour(1, i), time.Duration(i+1)*time.Minute, 0)
	}
	for i := range 20 {
		_, blocked := p.Blocked(neighbour(1, i), 0)
		require.Equal(t, i >= 16, blocked, "key %d", i)
	}
}
