//go:build !linux

package mux

import "syscall"

func limitUnsent(syscall.RawConn) {}
