package rx

import "sync/atomic"

// table has the transitions of the states. Matches read it without a lock. Transitions are
// filled in, and never change; for more states it is replaced by a larger copy.
type table struct {
	// next has for each state a row of ids, one for each class and one for the end of the
	// text. A state's id is where its row is, counted from firstState.
	next []uint32
	// start is the state at the beginning of the text.
	start uint32
	// idle are the states in which no match has begun, by the kind of the character before.
	idle [kinds]uint32
	// busy is the least id of a state that is not looked at twice: idle states are below,
	// when their characters are worth skipping.
	busy   uint32
	states *states
}

// states are what the rows of tables stand for. All tables between two flushes share them.
// They are guarded by the mutex of their Regexp.
type states struct {
	// keys are those of the rows.
	keys []string
	ids  map[string]uint32
	// bytes is what keys, ids, and the newest table take.
	bytes int
	// read is how many bytes of text were read by matches that needed a new state.
	read int
}

const (
	// stateBytes is what a state takes besides its key and its row: the key's header, in
	// a list that has room for twice as many at worst, and its part of the map, of which
	// less than half is used at worst.
	stateBytes = 2*16 + 64
	// bytesPerState is how many bytes must have been read per state for all of them to
	// be dropped to make room, as in RE2. A text which needs new states faster costs less
	// when it is left to the regular expression.
	bytesPerState = 10
	firstRows     = 8
)

// stride is the length of a row.
func (p *program) stride() int { return p.classes.n + 1 }

// build makes the automaton, or leaves the program nil where there is no room for one.
func (re *Regexp) build() {
	if 4*firstRows*re.program.stride() > re.limit/2 {
		re.program = nil
		return
	}
	re.builder = newBuilder(re.program)
	re.idle = findIdle(re.builder)
	t := re.newTable()
	if t.states.bytes > re.limit/2 {
		re.program, re.builder = nil, nil
		return
	}
	re.table.Store(t)
}

// newTable returns a table with the states that are always there. They take no more than
// half of the room.
func (re *Regexp) newTable() *table {
	t := &table{
		next:   make([]uint32, firstRows*re.program.stride()),
		states: &states{ids: make(map[string]uint32)},
	}
	t.states.bytes = 4 * len(t.next)
	// The idle ones are first, so that one comparison tells them from the others.
	if re.idle.kinds != 0 {
		for k := range kinds {
			if re.idle.kinds&(1<<k) != 0 {
				t.idle[k] = re.add(t, re.builder.begin(k))
			}
		}
	}
	t.busy = firstState + uint32(len(t.states.keys)*re.program.stride())
	t.start = re.add(t, re.builder.begin(kindEdge))
	return t
}

// add returns the id of what the builder has worked out, in a table that has a row for it.
func (re *Regexp) add(t *table, result uint32) (id uint32) {
	if result != unknown {
		return result
	}
	s := t.states
	if id, ok := s.ids[string(re.builder.key)]; ok {
		return id
	}
	key := string(re.builder.key)
	id = firstState + uint32(len(s.keys)*re.program.stride())
	s.keys = append(s.keys, key)
	s.ids[key] = id
	s.bytes += stateBytes + len(key)
	return id
}

// intern is add for any table: one that gets too small is replaced by a larger one. It
// reports false when there is no room.
func (re *Regexp) intern(t **table, result uint32) (id uint32, ok bool) {
	s := (*t).states
	if _, known := s.ids[string(re.builder.key)]; result != unknown || known {
		return re.add(*t, result), true
	}
	stride, rows := re.program.stride(), len(s.keys)
	room := re.limit - s.bytes - stateBytes - len(re.builder.key)
	if (rows+1)*stride > len((*t).next) {
		more := min(rows, room/(4*stride))
		if more <= 0 {
			return 0, false
		}
		larger := **t
		larger.next = make([]uint32, (rows+more)*stride)
		copy(larger.next, (*t).next)
		*t = &larger
		s.bytes += 4 * more * stride
	} else if room < 0 {
		return 0, false
	}
	return re.add(*t, result), true
}

// extend works out a transition that a match has not found in its table. It returns the
// table to go on with and the id there, or unknown when there is no room for new states.
// Read is how many bytes the match has read since it last called.
func (re *Regexp) extend(old *table, id, class uint32, read int) (t *table, next uint32) {
	re.mu.Lock()
	defer re.mu.Unlock()
	t = re.table.Load()
	stride := uint32(re.program.stride())
	key := old.states.keys[(id-firstState)/stride]
	t.states.read += read
	if here, ok := t.states.ids[key]; ok {
		// Another match may have been here, or may have replaced the table.
		if next = t.next[here-firstState+class]; next != unknown {
			return t, next
		}
	}
	result := re.builder.step(key, class)
	next, ok := re.intern(&t, result)
	if !ok {
		// One that is too large for the room that dropping gives is not worth it.
		if t.states.read < bytesPerState*len(t.states.keys) || stateBytes+len(re.builder.key) > re.limit/4 {
			return t, unknown
		}
		re.stats.Flushes++
		after := string(re.builder.key)
		t = re.newTable()
		re.builder.key = append(re.builder.key[:0], after...)
		next, _ = re.intern(&t, result)
	}
	// States are only found by who reads their ids, after their rows were made.
	if here, ok := t.states.ids[key]; ok {
		atomic.StoreUint32(&t.next[here-firstState+class], next)
	}
	re.table.Store(t)
	return t, next
}

// giveUp notes that the rest of a text is left to the regular expression.
func (re *Regexp) giveUp(read int) {
	re.mu.Lock()
	defer re.mu.Unlock()
	re.table.Load().states.read += read
	re.stats.Fallbacks++
}
