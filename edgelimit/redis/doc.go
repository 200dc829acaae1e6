// Package redis shares rate limits between nodes through Redis (5 or newer) or
// Valkey. A request never waits for the server: decisions are made from leases,
// credits and shares that package lease keeps, and one goroutine per [Node] talks
// to the server once per interval, in one pipeline.
//
// # What to expect
//
// Let N be the number of nodes that are alive.
//
//   - Over a minute the nodes together grant no more than the limit and a few per
//     cent: the buckets on the server are charged for everything, so what one
//     node spends too much is missing afterwards. For a short time the excess can
//     be up to one burst, when a client turns to all nodes in the same instant:
//     each node may spend its share of the burst before the server knows, and the
//     server may have leased the whole burst meanwhile. In any time t they grant
//     at most 2 bursts + (N - 1) + 2 rate t, N - 1 since shares are rounded up to
//     whole tokens, as long as no call costs more than a share. The caller has to
//     charge to the share what is granted on credit, see [lease.Verdict].
//   - A client all of whose requests come to one node gets the whole rate there,
//     and no token more than the burst. Of the burst it gets an Nth at once; the
//     lease is then twice what it was granted in the interval before.
//   - Nodes in contention for a key get about equal parts of it over a few
//     seconds.
//   - Without the server each node holds an Nth of the limit (OnError "local"), so
//     the sum stays, but a client with one node gets no more than that. The
//     change itself may give a client up to one more burst, and so may a server
//     that comes back without its data.
//   - A node that has just started, or lost the server, takes the number of nodes
//     it knew last; at the start that is 1.
//   - A node that dies takes its leases with it: per client about what it was
//     granted there in two intervals and what the rate brings in meanwhile, at most
//     the burst. It counts as a node until its heartbeat runs out.
//
// # Load on the server
//
// A hot key, one that needs more than half of a node's share, costs a call of a
// script per node and interval. Other keys cost a call when their use adds up to
// a quarter of the node's share of the burst, and one when they go idle, unless
// the use was less than a twentieth of it. A round has at most 4096 calls, but for
// zones that are closed. Keys expire when their bucket is full.
//
// The server sees no client data, only hashes. See Config.Secret.
package redis
