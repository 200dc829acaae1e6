package edgebreaker

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// resetting is a server of HTTP/2 that ends each stream with a code.
func resetting(t *testing.T, code http2.ErrCode) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
				f := http2.NewFramer(c, c)
				_ = f.WriteSettings()
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					switch frame := frame.(type) {
					case *http2.SettingsFrame:
						if !frame.IsAck() {
							_ = f.WriteSettingsAck()
						}
					case *http2.HeadersFrame:
						_ = f.WriteRSTStream(frame.StreamID, code)
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestRequestThatAllRefuse: a request that every backend resets with a code which is
// about the request opens none of them, with retries as without.
func TestRequestThatAllRefuse(t *testing.T) {
	for _, retries := range []string{"", "\nlb_retries 1"} {
		a, b := resetting(t, http2.ErrCodeProtocol), resetting(t, http2.ErrCodeProtocol)
		g := newRig(t)
		g.load(pool("failures 2", "lb_policy edge"+retries, "h2c://"+a, "h2c://"+b))
		for range 8 {
			require.Equal(t, 502, g.get("/").status)
		}
		requireState(t, a, breaker.Closed)
		requireState(t, b, breaker.Closed)
		require.Zero(t, backend(t, a).Active())
		require.Zero(t, backend(t, b).Active())
	}
}

// TestRequestThatOneRefuses: the backend that resets what another one answers has
// failed. So have all when they say so.
func TestRequestThatOneRefuses(t *testing.T) {
	a, b := resetting(t, http2.ErrCodeProtocol), newOrigin(t, "b")
	g := newRig(t)
	g.load(pool("failures 2", "lb_policy edge\nlb_retries 1", "h2c://"+a, "h2c://"+b.address))
	for range 5 {
		require.Equal(t, 200, g.get("/").status)
	}
	requireState(t, a, breaker.Open)
	requireState(t, b.address, breaker.Closed)

	c, d := resetting(t, http2.ErrCodeInternal), resetting(t, http2.ErrCodeInternal)
	g.load(pool("failures 2", "lb_policy edge\nlb_retries 1", "h2c://"+c, "h2c://"+d))
	for range 4 {
		require.Equal(t, http.StatusBadGateway, g.get("/").status)
	}
	requireState(t, c, breaker.Open)
	requireState(t, d, breaker.Open)
}
