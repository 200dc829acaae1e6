// Package tier tells what a place that stores objects can do.
//
// There are two kinds. A [Tier] answers at once from memory; a hit asks it and
// nothing else. A [Backing] lies behind a Tier, on a disk or in another process:
// its operations wait, can be cancelled and can fail. The cache asks a Backing
// only after a miss in memory, within the flight that all requests for a key
// share, and puts what it finds into the Tier.
package tier

import (
	"context"
	"errors"

	"github.com/caddyedge/caddy-edge/edgecache/object"
)

// Tier stores objects in memory. All methods are safe for concurrent use and
// never wait for I/O or for a slow reader of an object.
//
// A tier may drop any object at any time; one it handed out stays readable.
type Tier interface {
	// Get returns the object with exactly this key. It does not allocate. The
	// caller decides whether the object is still fresh and not purged.
	Get(key string) (*object.Object, bool)

	// Put stores o under its key in place of an earlier object. It reports
	// false when there is no room for it; then what was stored under the key
	// remains. True does not promise that the object stays: the tier may
	// prefer others that are asked for more often.
	Put(o *object.Object) bool

	// Delete drops the object with this key, if there is one.
	Delete(key string)

	// Drop drops o unless another object has taken its place, and reports
	// whether it did.
	Drop(o *object.Object) bool

	// Range calls yield for the stored objects in no particular order until
	// yield returns false. Objects that come or go meanwhile may be missed.
	// yield may call the tier.
	Range(yield func(*object.Object) bool)

	// Stats returns a snapshot of the counters.
	Stats() Stats
}

// ErrMiss is returned by a Backing that does not have an object.
var ErrMiss = errors.New("tier: no such object")

// Backing stores objects on a disk or in another process. All methods are safe
// for concurrent use, return when ctx is done, and report failures, which the
// cache counts and takes for a miss: no request fails because a Backing does.
type Backing interface {
	// Get returns the object with exactly this key, or ErrMiss.
	Get(ctx context.Context, key string) (*object.Object, error)

	// Put stores o under its key in place of an earlier object.
	Put(ctx context.Context, o *object.Object) error

	// Delete drops the object with this key; it is no error if there is none.
	Delete(ctx context.Context, key string) error

	// Range calls yield for the stored objects in no particular order until
	// yield returns false or ctx is done.
	Range(ctx context.Context, yield func(*object.Object) bool) error

	// Stats returns a snapshot of the counters.
	Stats() Stats
}

// Stats are the counters of a tier. Bytes are the weights of objects, which
// include every overhead, not the lengths of their bodies.
type Stats struct {
	// Entries is the number of stored objects.
	Entries int `json:"entries"`
	// Bytes is what the stored objects weigh, with the indexes of variants and purges.
	Bytes int64 `json:"bytes"`
	// Reserved is what has been reserved for responses on their way.
	Reserved int64 `json:"reserved"`
	// Peak is the greatest sum of Bytes and Reserved so far.
	Peak int64 `json:"peak"`
	// Budget is what that sum may be at most; responses that are not stored go beyond
	// it when nothing is left to evict for them.
	Budget int64 `json:"budget"`
	// Evictions counts objects dropped for lack of room, new ones that were
	// asked for less often than those already there included.
	Evictions uint64 `json:"evictions"`
	// Rejected counts objects that were refused because there was no room.
	Rejected uint64 `json:"rejected"`
}
