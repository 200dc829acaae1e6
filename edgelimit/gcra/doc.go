// Package gcra keeps the rates of very many keys in a fixed amount of memory.
//
// A [Table] holds one 16-byte slot per key, in sets of four that fill one cache
// line. Nothing in it points anywhere, nothing sweeps it, and it never grows:
// when a set is full the key with the least debt makes room. A key that is idle
// loses nothing by that, and a client that is far over its limit stays, so a
// flood of fresh keys cannot wash an abuser's record away. This holds as long as
// a fresh key owes less than an abuser: give all keys of one table limits that
// refill at about the same pace, and allow a burst of at least two.
//
// Two kinds of [Limit] exist. [Rate] is the generic cell rate algorithm: one
// number per key, the theoretical arrival time, says when the key will be idle
// again; how far it lies ahead is the debt. [Window] is a sliding window
// estimated from two counters. A table must be used with one kind only. The
// numbers of a limit may change at any time and apply to running keys at once.
//
// Time is always an argument ([Time]), limits are immutable, and nothing
// allocates after [New].
//
// # Concurrency
//
// A slot is two words: an identity (48 bits of fingerprint, 16 of generation)
// and a value (48 bits of state, 16 of generation). The value belongs to the
// identity only if the generations agree. A key that is present is read and
// charged without a lock, by compare-and-swap of the value. Bringing in a key
// takes the lock of a group of sets, so that a key can never occupy two slots
// and no charge is split between them. The newcomer first swaps the value of its
// victim for its own state with the next generation, and stores the identity
// after that: a late charge for the victim fails and looks again, and a key that
// can be found always has its first charge booked.
package gcra
