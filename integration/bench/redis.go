package main

import (
	"context"
	"os"

	"github.com/caddyedge/caddy-edge/internal/redistest"
)

// startRedis starts a Redis server that keeps nothing when it ends.
func (b *bench) startRedis(ctx context.Context) (*redistest.Server, error) {
	dir, err := os.MkdirTemp(b.dir, "redis-")
	if err != nil {
		return nil, err
	}
	r, err := redistest.NewServer(dir)
	if err != nil {
		return nil, err
	}
	return r, r.Start(ctx)
}
