//go:build unix

package edgebreaker

import (
	"errors"
	"syscall"
)

// shortage reports whether this machine can't open a connection at present, for want of
// descriptors, memory or ports, which is the likely reason then that one failed, where
// nobody tells the error. Ports are asked for by one that no connection has: that may be
// too much, where connections to others could share one, but none is blamed for it.
func shortage() bool {
	err := bindAny(syscall.AF_INET6)
	if err != nil && !short(err) {
		err = bindAny(syscall.AF_INET) // there may be no IPv6
	}
	return err != nil && short(err)
}

func short(err error) bool { return ours(err) || errors.Is(err, syscall.EADDRINUSE) }

// bindAny opens a socket at any port of all addresses, and closes it. It does not listen.
func bindAny(family int) error {
	syscall.ForkLock.RLock()
	s, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(s)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(s) }()
	if family == syscall.AF_INET {
		return syscall.Bind(s, new(syscall.SockaddrInet4))
	}
	_ = syscall.SetsockoptInt(s, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0) // the ports of IPv4 as well
	return syscall.Bind(s, new(syscall.SockaddrInet6))
}
