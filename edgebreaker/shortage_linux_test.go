package edgebreaker

import (
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestShortageOfPorts: in a network whose two ports are taken by connections the third one
// fails, and the shortage is seen.
func TestShortageOfPorts(t *testing.T) {
	runtime.LockOSThread() // for good: the thread ends with its network
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Skipf("no network of its own: %v", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40001"), 0o600); err != nil {
		t.Skipf("no ports of its own: %v", err)
	}
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	loopback := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [64]byte
	}{name: [syscall.IFNAMSIZ]byte{'l', 'o'}, flags: syscall.IFF_UP}
	_, _, no := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&loopback)))
	require.Zero(t, no)
	require.NoError(t, syscall.Close(s))
	l, err := net.Listen("tcp", "127.0.0.1:50000")
	require.NoError(t, err)
	defer l.Close()
	dial := func() (int, error) { // on this thread
		s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		require.NoError(t, err)
		return s, syscall.Connect(s, &syscall.SockaddrInet4{Port: 50000, Addr: [4]byte{127, 0, 0, 1}})
	}
	for range 2 {
		require.False(t, shortage())
		s, err := dial()
		require.NoError(t, err)
		defer syscall.Close(s)
	}
	s, err = dial()
	defer syscall.Close(s)
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	require.True(t, shortage())
}
