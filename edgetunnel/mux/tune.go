package mux

import (
	"net"
	"syscall"
)

// mostUnsent is how many bytes the system may hold for a connection that it has not sent.
const mostUnsent = 128 << 10

// Tune has the system hold little of what is written to conn, where it can, so that what
// waits for a slow link waits in the session, where streams take turns. conn may be one
// over TLS.
func Tune(conn net.Conn) {
	for {
		if raw, ok := conn.(syscall.Conn); ok {
			if c, err := raw.SyscallConn(); err == nil {
				limitUnsent(c)
			}
			return
		}
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		conn = over.NetConn()
	}
}
