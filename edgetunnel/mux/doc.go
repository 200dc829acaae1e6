// Package mux carries many streams of bytes over one connection, in both directions
// and with a window for each, so that a slow reader holds up nobody else.
//
// It is made for requests that go one way: one side opens streams, the other accepts
// them. Opening costs no round trip, as the first bytes travel with it. Frames that are
// ready at the same time go out in one write. Windows begin small and grow for readers
// that keep up, within a budget of the session, so that the peer can't make this side
// hold more than that. A session whose peer has sent no byte for a while is dead,
// whatever else is under way.
//
// The format of frames is that of docs/tunnel.md.
package mux
