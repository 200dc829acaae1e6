package mux

import (
	"io"
	"net"
	"testing"
)

// tcp connects two sessions over loopback.
func tcp(b *testing.B, serve func(*Stream)) *Session {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	near := New(dialled, nil, Config{})
	far := New(accepted, nil, Config{Accept: func(st *Stream) { go serve(st) }})
	b.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near
}

// BenchmarkExchange opens a stream for 1 KiB each way.
func BenchmarkExchange(b *testing.B) {
	kilobyte := make([]byte, 1<<10)
	s := tcp(b, func(st *Stream) {
		_, _ = io.ReadFull(st, make([]byte, len(kilobyte)))
		_, _ = st.Write(kilobyte)
		_ = st.CloseWrite()
		_ = st.Close()
	})
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, len(kilobyte))
		for pb.Next() {
			st, err := s.Open(kilobyte)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.ReadFull(st, buf); err != nil {
				b.Error(err)
			}
			_ = st.Close()
		}
	})
}

// BenchmarkBulk reads one long stream.
func BenchmarkBulk(b *testing.B) {
	s := tcp(b, func(st *Stream) {
		piece := make([]byte, 32<<10)
		for {
			if _, err := st.Write(piece); err != nil {
				_ = st.Close()
				return
			}
		}
	})
	st, err := s.Open(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := io.ReadFull(st, buf); err != nil {
			b.Fatal(err)
		}
	}
}
