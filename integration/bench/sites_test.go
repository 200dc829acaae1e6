package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCaddyfile(t *testing.T) {
	o := siteOptions{global: "\tservers {\n\t}\n", sites: []string{"\trespond 200\n", "\trespond 429\n"}}
	const want = `{
	admin 127.0.0.1:1
	persist_config off
	auto_https off
	log {
		level WARN
	}
	servers {
	}
}
http://:2 {
	bind 127.0.0.1
	respond 200
}
http://:3 {
	bind 127.0.0.1
	respond 429
}
`
	require.Equal(t, want, o.caddyfile("127.0.0.1:1", []string{"127.0.0.1:2", "127.0.0.1:3"}))
	o = siteOptions{tls: "tls a b", sites: []string{"\trespond 200\n"}}
	require.Contains(t, o.caddyfile("127.0.0.1:1", []string{"127.0.0.1:2"}), "\nhttps://localhost:2 {\n\tbind 127.0.0.1\n\ttls a b\n\trespond 200\n}\n")
}

func TestEdgeSites(t *testing.T) {
	o := edgeOptions{memory: "1MiB", servers: "\t\tprotocols h1", baselines: []int64{10}}
	got := o.sites("127.0.0.1:9")
	require.Equal(t, "\tedge {\n\t\tmemory 1MiB\n\t}\n\tservers {\n\t\tprotocols h1\n\t}\n", got.global)
	require.Equal(t, []string{
		"\tedge_cache\n\treverse_proxy 127.0.0.1:9\n",
		"\tbench_baseline 10\n\treverse_proxy 127.0.0.1:9\n",
	}, got.sites)
}
