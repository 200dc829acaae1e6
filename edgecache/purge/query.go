package purge

import (
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/caddyedge/caddy-edge/edgecache/object"
)

// query is one look-up of an object in a table.
type query struct {
	table   *Table
	state   *state
	object  *object.Object
	checked uint64 // the object survived the purges up to here
	verdict Verdict
}

// run compares the object with the kinds of purges that are new to it.
func (q *query) run() Verdict {
	t, o := q.table, q.object
	if q.isNew(All) {
		q.look(t.hashOf(Purge{Kind: All}))
	}
	if q.isNew(Key) {
		q.look(t.hash(Key, o.Key()))
	}
	if q.isNew(Tag) && o.HasTags() {
		for tag := range o.Tags {
			q.look(t.hash(Tag, tag))
		}
	}
	if q.verdict != Gone && (q.isNew(URL) || q.isNew(Host) || q.isNew(Prefix) || q.isNew(Wildcard)) {
		q.locate(splitURL(o.URL()))
	}
	return q.verdict
}

// locate compares l, the object's URL, with the kinds that look at it. A purge
// may name the port although it is the default one.
func (q *query) locate(l location) {
	t, name, port := q.table, hostname(l.host), l.defaultPort()
	host := maphash.String(t.seed, l.host)
	withPort := host
	if port != "" {
		withPort = t.concatenated(l.host, port)
	}
	if q.isNew(URL) {
		q.look(t.urlHash(l))
		target := maphash.String(t.seed, l.target)
		noScheme := maphash.String(t.seed, "")
		q.look(finish(URL, mix(mix(noScheme, host), target)))
		q.look(finish(URL, mix(mix(noScheme, withPort), target)))
	}
	if q.isNew(Host) {
		q.look(finish(Host, host))
		q.look(finish(Host, withPort))
		q.look(t.hash(Host, name))
	}
	if q.isNew(Prefix) {
		q.lookPrefixes(l.path, host, withPort, maphash.String(t.seed, name))
	}
	if q.isNew(Wildcard) {
		for _, w := range slices.Backward(q.state.wildcards) {
			if w.seq <= q.checked {
				break
			}
			if w.match(l, port) {
				q.hit(w.soft)
			}
		}
	}
}

// lookPrefixes looks for the path and all above it, as deep as any purge goes, on
// the host with and without its port and on any host.
func (q *query) lookPrefixes(path string, host, withPort, name uint64) {
	seed := q.table.seed
	anyHost := maphash.String(seed, "")
	for depth, end := 0, 0; ; depth++ {
		prefix := maphash.String(seed, path[:end])
		q.look(finish(Prefix, mix(name, prefix)))
		q.look(finish(Prefix, mix(anyHost, prefix)))
		if host != name {
			q.look(finish(Prefix, mix(host, prefix)))
		}
		if withPort != host {
			q.look(finish(Prefix, mix(withPort, prefix)))
		}
		if depth == q.state.depth || end == len(path) {
			return
		}
		end = nextSegment(path, end)
	}
}

// isNew reports whether there may be a purge of this kind that the object was
// not yet compared with.
func (q *query) isNew(k Kind) bool { return q.table.newest[k].Load() > q.checked }

// look applies what the index has under hash. A purge counts when it came after
// the object's fetch started, though the object may have been checked since.
func (q *query) look(hash uint64) {
	m := q.state.index.get(hash)
	if m.hard > q.object.Seq() {
		q.hit(false)
	} else if m.soft > q.object.Seq() {
		q.hit(true)
	}
}

func (q *query) hit(soft bool) {
	if !soft {
		q.verdict = Gone
	} else if q.verdict == Live {
		q.verdict = Soft
	}
}

// hashOf returns the hash under which a purge of any kind but Wildcard stands.
func (t *Table) hashOf(p Purge) uint64 {
	switch p.Kind {
	case URL:
		return t.urlHash(splitURL(p.Value))
	case Host:
		return t.hash(Host, splitURL(p.Value).host)
	case Prefix:
		l := splitURL(p.Value)
		prefix, _ := prefixOf(l.path)
		return finish(Prefix, mix(maphash.String(t.seed, l.host), maphash.String(t.seed, prefix)))
	case All:
		return t.hash(All, "")
	default:
		return t.hash(p.Kind, p.Value)
	}
}

func (t *Table) hash(k Kind, s string) uint64 {
	return finish(k, maphash.String(t.seed, s))
}

func (t *Table) urlHash(l location) uint64 {
	h := maphash.String(t.seed, l.scheme)
	h = mix(h, maphash.String(t.seed, l.host))
	return finish(URL, mix(h, maphash.String(t.seed, l.target)))
}

// concatenated returns the hash of a+b, without building it.
func (t *Table) concatenated(a, b string) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	_, _ = h.WriteString(a)
	_, _ = h.WriteString(b)
	return h.Sum64()
}

// finish separates the kinds and keeps 0 free for empty slots.
func finish(k Kind, h uint64) uint64 {
	return max(mix(uint64(k)+1, h), 1)
}

// mix combines two seeded hashes; the order matters.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xd1b54a32d192ed03)
	return hi ^ lo
}
