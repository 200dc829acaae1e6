// Package notice bounds how often something is told: once per key and interval, and only
// so often in all, in memory that is fixed.
package notice

import (
	"sync"
	"time"
)

const (
	ways  = 4
	rows  = 1024
	burst = 10 // notices a second, whatever their keys
)

// Table knows what was told lately. The zero value is ready to use.
type Table struct {
	mu    sync.Mutex
	rows  [rows][ways]entry
	since time.Time
	told  int
}

type entry struct {
	key uint64
	at  time.Time
}

// Allow reports whether something with this key, a good hash, is to be told now, and
// notes that it was. When too many keys are known the one that was told first is
// forgotten.
func (t *Table) Allow(key uint64, interval time.Duration, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := &t.rows[key%rows]
	oldest := &row[0]
	for i := range row {
		e := &row[i]
		if e.key == key && !e.at.IsZero() {
			if now.Sub(e.at) < interval {
				return false
			}
			oldest = e
			break
		}
		if e.at.Before(oldest.at) {
			oldest = e
		}
	}
	if now.Sub(t.since) >= time.Second {
		t.since, t.told = now, 0
	}
	if t.told >= burst {
		return false
	}
	t.told++
	*oldest = entry{key, now}
	return true
}
