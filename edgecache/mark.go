package edgecache

import (
	"hash/maphash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// marks is a fixed table of keys that carry a mark until a time: keys whose
// responses were found not to be shareable (hit-for-miss), and keys that a
// client forced a validation of. A slot holds one key; a later key takes it
// over, which only costs a fetch that might have been collapsed.
type marks struct {
	seed  maphash.Seed
	epoch time.Time
	slots [markSlots]atomic.Uint64 // fingerprint in the upper 32 bits, milliseconds since epoch / 64 below
}

const markSlots = 8192

// How long a key is not collapsed after a response that could not be shared.
const (
	markUncacheable = 10 * time.Second
	markError       = time.Second
)

// unshared notes that a response could not be shared, so that the next requests
// for its keys do not wait for one another. What answers one client's credentials
// says so only about requests with the like, and its no-store says nothing.
func (h *Handler) unshared(v *verdict, req *rfc9111.Request, until time.Time, keys ...string) {
	class := ""
	if v.onlyThis {
		if class = credentials(req.Header); class == "" || req.Directives.NoStore {
			return
		}
	}
	for _, key := range keys {
		h.marks.set([]byte(key+class), until)
	}
}

// credentials tells requests apart by the kind of credentials they have, and not by
// these themselves: whether there is an Authorization, and the names of the cookies.
// It is "" without any, and no key ends in what it returns otherwise.
func credentials(hd http.Header) string {
	_, authorization := hd["Authorization"]
	if _, ok := hd["Cookie"]; !ok && !authorization {
		return ""
	}
	names := []string{strconv.FormatBool(authorization)}
	for name := range cookiesOf(hd) {
		names = append(names, name)
	}
	slices.Sort(names[1:])
	return "\x00\x00" + strings.Join(names, ";")
}

func newMarks(now time.Time) *marks {
	return &marks{seed: maphash.MakeSeed(), epoch: now}
}

func (m *marks) slot(key []byte) (*atomic.Uint64, uint64) {
	h := maphash.Bytes(m.seed, key)
	return &m.slots[h%markSlots], h &^ 0xffffffff
}

func (m *marks) tick(t time.Time) uint64 {
	return uint64(t.Sub(m.epoch)/(64*time.Millisecond)) & 0xffffffff
}

// set marks a key until a time.
func (m *marks) set(key []byte, until time.Time) {
	s, fp := m.slot(key)
	s.Store(fp | m.tick(until))
}

// has reports whether the key is marked.
func (m *marks) has(key []byte, now time.Time) bool {
	s, fp := m.slot(key)
	v := s.Load()
	return v&^0xffffffff == fp && v&0xffffffff > m.tick(now)
}

// clear removes the mark of a key.
func (m *marks) clear(key []byte) {
	s, fp := m.slot(key)
	if v := s.Load(); v&^0xffffffff == fp {
		s.CompareAndSwap(v, 0)
	}
}

// take marks a key for d and reports whether it was unmarked: of all callers in
// that time only one gets true.
func (m *marks) take(key []byte, now time.Time, d time.Duration) bool {
	s, fp := m.slot(key)
	v := s.Load()
	if v&^0xffffffff == fp && v&0xffffffff > m.tick(now) {
		return false
	}
	return s.CompareAndSwap(v, fp|m.tick(now.Add(d)))
}
