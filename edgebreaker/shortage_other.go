//go:build !unix

package edgebreaker

import "os"

// shortage reports whether this machine can't open anything at present, which is the
// likely reason then that a connection failed, where nobody tells the error.
func shortage() bool {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return ours(err)
	}
	_ = f.Close()
	return false
}
