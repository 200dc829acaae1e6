// Package lease is the accounting of a rate limit that several nodes hold
// together: what a node may grant on its own, what it asks the shared server
// for, and what it gives back. It does no input or output and starts nothing;
// time is an argument.
//
// The server keeps one bucket per key for all nodes. A node works with what it
// has of that bucket:
//
//   - A lease: tokens that the server has charged already. The node spends them
//     without asking. It covers what is granted in about two rounds; what turns out
//     not to be needed goes back.
//   - A credit: an Nth of what was left in the bucket at the last answer, N being
//     the number of nodes, and nothing of what the node is just asking for. It
//     carries a sudden rise of the use through the time until the next round. What
//     is spent of it is charged afterwards, and at once to the share.
//   - A share: an Nth of the rate and of the burst, see [Limit.Share]. It is for
//     keys about which the server has not been asked lately, unless nothing was
//     left then and too little can have come in since. It is kept by the caller in a
//     table of its own: [Table.Take] says Known = false.
//
// Only hot keys are asked for: those that need more than half of their share.
// Of the others the use is charged in lumps, when it adds up to something that
// matters to the limit, so that many nodes together cannot use a key beside a
// lease that covers the whole rate.
//
// Since everything spent is charged, sooner or later, the sum over all nodes
// stays true: a node that overspends makes a debt in the bucket, and the next
// leases are smaller until it is paid. In any stretch of time the nodes together
// exceed the limit at most by what they spent and have not had charged yet, which is
// their shares: about one burst, when all of them are surprised at once.
package lease
