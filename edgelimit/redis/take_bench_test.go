// Run with: go test -bench Take ./edgelimit/redis
package redis

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
)

func benchmarkZone(b *testing.B) *Zone {
	cfg, err := Config{Addresses: []string{"127.0.0.1:1"}}.withDefaults()
	require.NoError(b, err)
	n := start(cfg, func(context.Context) (server, error) { return nil, errors.New("no server") })
	n.Close()
	n.state.Store(online)
	z, err := n.Zone("zone", lease.Limit{Rate: 1e6, Burst: 1e9})
	require.NoError(b, err)
	b.ReportAllocs()
	return z
}

func BenchmarkTakeHot(b *testing.B) {
	z := benchmarkZone(b)
	client, now := []byte("192.0.2.1"), time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			z.Take(client, 1, now)
		}
	})
}

func BenchmarkTakeMillionClients(b *testing.B) {
	z := benchmarkZone(b)
	now := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		var client [4]byte
		for pb.Next() {
			binary.BigEndian.PutUint32(client[:], rand.Uint32N(1e6))
			z.Take(client[:], 1, now)
		}
	})
}
