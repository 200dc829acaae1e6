package edgetunnel

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// mostFailures is how many failed attempts an address may make in a row.
	mostFailures = 10
	// forgiven is after how long one of them is forgotten.
	forgiven = 6 * time.Second
	// mostAddresses bounds how many addresses are remembered.
	mostAddresses = 4096
)

// attempts counts failed attempts by address, so that they can be answered briefly and
// without a log. A valid token is never turned away for those of others.
type attempts struct {
	mu    sync.Mutex
	until map[netip.Prefix]time.Time // when all are forgotten
}

func newAttempts() *attempts { return &attempts{until: make(map[netip.Prefix]time.Time)} }

// fail counts a failed attempt, and reports whether there were too many before.
func (a *attempts) fail(client netip.Addr, now time.Time) (tooMany bool) {
	key := networkOf(client)
	a.mu.Lock()
	defer a.mu.Unlock()
	until := a.until[key]
	if until.Before(now) {
		until = now
	}
	if until.Sub(now) > (mostFailures-1)*forgiven {
		return true
	}
	if len(a.until) >= mostAddresses {
		a.makeRoom(now)
	}
	a.until[key] = until.Add(forgiven)
	return false
}

// makeRoom forgets who has nothing left, or somebody.
func (a *attempts) makeRoom(now time.Time) {
	for key, until := range a.until {
		if until.Before(now) {
			delete(a.until, key)
		}
	}
	for key := range a.until {
		if len(a.until) < mostAddresses {
			return
		}
		delete(a.until, key)
	}
}

// networkOf is what one client may have: an address of IPv4, a /64 of IPv6.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // the zero prefix for the zero address
	return p
}
