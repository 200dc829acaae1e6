// Package origin is a scripted HTTP/1.1 origin server for black-box tests.
//
// A test decides, per path and per request, every byte that the origin sends:
// header lines (also malformed or repeated ones), framing, pacing, interim
// responses, trailers, and how the connection ends. Gates replace sleeps: a
// reply can be held before its header or before each chunk until the test
// releases it, and the test can wait until a number of requests arrived, are
// in progress, or were given up by the proxy.
//
//	o := origin.Start(t)
//	gate := origin.NewGate()
//	o.Handle("/page", origin.Reply{
//		Headers:    []string{"Cache-Control: max-age=60", "Content-Type: text/plain"},
//		Body:       []byte("hello"),
//		HoldHeader: gate,
//	})
//	// … start requests through the proxy under test …
//	o.WaitArrived(t, "/page", 1)
//	gate.Open()
//	require.Equal(t, 1, o.Stats("/page").Arrived)
//
// The server speaks HTTP/1.1 on a plain TCP connection of its own, not through
// net/http's server, because that one repairs what the tests want broken.
package origin
