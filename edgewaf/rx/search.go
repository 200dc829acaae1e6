package rx

import "sync/atomic"

// search runs the automaton over a text. It is not sure when it has run out of room.
func (re *Regexp) search(s string) (matched, sure bool) {
	t := re.table.Load()
	id := t.start
	if id < firstState {
		return id == match, true
	}
	var (
		ofByte = &re.program.classes.ofByte
		n      = len(s)
		rows   = t.next
		busy   = t.busy
		i      int
		told   int
		ahead  marks
	)
	if id < busy {
		i, id = re.skip(t, id, s, 0, &ahead)
	}
	for {
		var class uint32
		if i < n {
			class = uint32(ofByte[s[i]])
			if class != wide {
				i++
			} else {
				var width int
				class, width = re.program.classes.ofRune(s[i:])
				i += width
			}
		} else {
			class = uint32(re.program.classes.n)
		}
		next := atomic.LoadUint32(&rows[id-firstState+class])
		if next >= busy {
			id = next
			continue
		}
		if next == unknown {
			t, next = re.extend(t, id, class, i-told)
			if next == unknown {
				re.giveUp(n - i)
				return false, false
			}
			told, rows, busy = i, t.next, t.busy
		}
		// The end of the text leads nowhere else.
		if next < firstState {
			return next == match, true
		}
		id = next
		if id < busy && i < n {
			i, id = re.skip(t, id, s, i, &ahead)
		}
	}
}

// skip passes over characters that begin no match.
func (re *Regexp) skip(t *table, id uint32, s string, from int, m *marks) (i int, behind uint32) {
	i = re.idle.skip(s, from, m)
	if i == from {
		return i, id
	}
	if c := re.program.classes.ofByte[s[i-1]]; c != wide {
		return i, t.idle[re.program.classes.kind[c]]
	}
	return i, t.idle[kindOther]
}
