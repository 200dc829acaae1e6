package mux

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeader(t *testing.T) {
	for _, h := range []header{{kindOpen, 0, 1}, {kindEnd, maxPayload, 1<<32 - 1}, {kindReset, 1, 5}, {kindWindow, 4, 5}, {kindPong, 8, 0}, {kindControl, MaxControl, 0}, {kindConfirm, 0, 3}} {
		b := appendHeader(nil, h)
		require.Len(t, b, headerSize)
		got, err := parseHeader([headerSize]byte(b))
		require.NoError(t, err)
		require.Equal(t, h, got)
	}
}

// FuzzSession gives a session whatever a peer may send. It must neither panic nor hold
// more than it may, and end with the connection.
func FuzzSession(f *testing.F) {
	add := func(frames ...[]byte) {
		var all []byte
		for _, b := range frames {
			all = append(all, b...)
		}
		f.Add(all)
	}
	frame := func(k kind, stream uint32, payload ...byte) []byte {
		return append(appendHeader(nil, header{k, len(payload), stream}), payload...)
	}
	add(frame(kindOpen, 1, 'a'), frame(kindData, 1, 'b'), frame(kindEnd, 1, 'c'), frame(kindWindow, 1, 0, 0, 1, 0), frame(kindReset, 1, 2))
	add(frame(kindPing, 0, 1, 2, 3, 4, 5, 6, 7, 8), frame(kindPong, 0, 255, 2, 3, 4, 5, 6, 7, 8), frame(kindControl, 0, '{'))
	add(frame(kindOpen, 1), frame(kindOpen, 1))
	f.Fuzz(func(t *testing.T, sent []byte) {
		a, b := net.Pipe()
		s := New(a, nil, Config{MaxStreams: 10, Accept: func(st *Stream) {
			go func() {
				_, _ = io.Copy(io.Discard, io.LimitReader(st, 100))
				_ = st.Close()
			}()
		}})
		go func() { _, _ = io.Copy(io.Discard, b) }()
		_, _ = b.Write(sent)
		if held := s.Held(); held > 10*DefaultWindow {
			t.Errorf("%d bytes are held", held)
		}
		_ = b.Close()
		<-s.Done()
	})
}
