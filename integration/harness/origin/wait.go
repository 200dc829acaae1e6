package origin

import (
	"testing"
	"time"
)

// waitLimit ends a wait for something that does not happen. It is generous: the
// proxy under test may be built with the race detector on a busy machine.
const waitLimit = 20 * time.Second

// WaitArrived blocks until n requests to path arrived. It fails the test when
// that takes more than 20 seconds.
func (o *Origin) WaitArrived(t testing.TB, path string, n int) {
	t.Helper()
	o.Wait(t, path, func(s Stats) bool { return s.Arrived >= n })
}

// WaitActive blocks until exactly n requests to path are in progress. It fails
// the test when that takes more than 20 seconds.
func (o *Origin) WaitActive(t testing.TB, path string, n int) {
	t.Helper()
	o.Wait(t, path, func(s Stats) bool { return s.Active == n })
}

// WaitAborted blocks until the peer gave up n requests to path. It fails the
// test when that takes more than 20 seconds.
func (o *Origin) WaitAborted(t testing.TB, path string, n int) {
	t.Helper()
	o.Wait(t, path, func(s Stats) bool { return s.Aborted >= n })
}

// Wait blocks until the counts of path satisfy done. It fails the test when
// that takes more than 20 seconds.
func (o *Origin) Wait(t testing.TB, path string, done func(Stats) bool) {
	t.Helper()
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	for {
		o.mu.Lock()
		stats, changed := o.statsLocked(path), o.changed
		o.mu.Unlock()
		if done(stats) {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("origin: %s did not reach the state waited for within %s; it is %+v", path, waitLimit, stats)
		}
	}
}
