package adaptive

// holding is what a request takes up.
type holding uint8

const (
	holdsNothing holding = iota
	holdsSlot
	holdsUpload
	holdsStream

	holdings
)

// record is one admitted request. Records are reused; gen tells the uses apart.
type record struct {
	gen        uint64
	prev, next *record
	client     uint64
	ref        clientRef
	slotAt     int64 // ns, when the slot was taken
	clock      int64 // ns, when the request body had been read
	headerAt   int64 // ns
	lingerTo   int64 // ns, when the origin will have dropped an abandoned request
	holds      holding
	uploading  bool // the body has not been read to its end
	answered   bool // the header was seen
	sampled    bool // the sample was taken, or there will be none
}

// recordList is a list of records in the order of their times. A record is in
// one list at most.
type recordList struct {
	first, last *record
}

func (l *recordList) push(r *record) {
	r.prev, r.next = l.last, nil
	if l.last == nil {
		l.first = r
	} else {
		l.last.next = r
	}
	l.last = r
}

// remove takes the record out, if it is in the list.
func (l *recordList) remove(r *record) {
	if r.prev == nil && l.first != r {
		return
	}
	if r.prev == nil {
		l.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		l.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}
