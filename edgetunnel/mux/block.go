package mux

import "sync"

// blockSize is the size of the pieces that received bytes are kept in: that of a frame.
const blockSize = maxPayload

type block struct {
	data       [blockSize]byte
	start, end int
	next       *block
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// queue holds received bytes until they are read. Its memory is that of its bytes and
// two blocks more at most, however small the frames are that brought them.
type queue struct {
	head, tail *block
	size       int
}

// write appends p.
func (q *queue) write(p []byte) {
	for len(p) > 0 {
		if q.tail == nil || q.tail.end == blockSize {
			q.add()
		}
		n := copy(q.tail.data[q.tail.end:], p)
		p, q.tail.end, q.size = p[n:], q.tail.end+n, q.size+n
	}
}

// add adds an empty block.
func (q *queue) add() {
	b := blocks.Get().(*block)
	b.start, b.end, b.next = 0, 0, nil
	if q.tail == nil {
		q.head = b
	} else {
		q.tail.next = b
	}
	q.tail = b
}

// read moves bytes to p.
func (q *queue) read(p []byte) (n int) {
	for n < len(p) && q.size > 0 {
		b := q.head
		m := copy(p[n:], b.data[b.start:b.end])
		n, q.size, b.start = n+m, q.size-m, b.start+m
		if b.start == b.end {
			q.drop()
		}
	}
	return n
}

// drop gives the first block back.
func (q *queue) drop() {
	b := q.head
	if q.head = b.next; q.head == nil {
		q.tail = nil
	}
	b.next = nil
	blocks.Put(b)
}

// clear gives all blocks back.
func (q *queue) clear() {
	for q.head != nil {
		q.drop()
	}
	q.size = 0
}
