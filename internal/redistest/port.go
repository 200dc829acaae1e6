package redistest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken below the range from which the kernel picks those of outgoing
// connections, so that none of these takes the port of a server that is down.
const (
	firstPort = 12000
	lastPort  = 20000
)

// freeAddr returns a loopback address where nobody listens.
func freeAddr() (string, error) {
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort))) //nolint:gosec // no secret
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		return addr, l.Close()
	}
	return "", errors.New("no free port for a Redis server")
}
