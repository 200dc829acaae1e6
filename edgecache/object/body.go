package object

import "unsafe"

// body is a body longer than FlatLimit. It may be shared by several objects.
type body struct {
	chunks [][]byte
	size   int64
	weight int64
}

func newBody(chunks [][]byte, size int64) *body {
	b := &body{chunks: chunks, size: size}
	b.weight = sizeClass(int64(unsafe.Sizeof(*b))) +
		sizeClass(int64(cap(chunks))*int64(unsafe.Sizeof(chunks[0])))
	for _, c := range chunks {
		b.weight += sizeClass(int64(cap(c)))
	}
	return b
}

// Len returns the length of the body in bytes.
func (o *Object) Len() int64 {
	if o.large != nil {
		return o.large.size
	}
	return int64(len(o.rec)) - int64(o.bodyOff)
}

// Body returns the body without copying it: as one slice when it is flat, else
// as chunks. Neither may be changed.
func (o *Object) Body() (flat []byte, chunks [][]byte) {
	if o.large != nil {
		return nil, o.large.chunks
	}
	s := o.rec[o.bodyOff:]
	return unsafe.Slice(unsafe.StringData(s), len(s)), nil
}
