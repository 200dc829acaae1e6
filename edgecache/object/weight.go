package object

import (
	"slices"
	"unsafe"
)

// tierOverhead is what a memory tier adds to each object: a policy node (48
// bytes), its share of the hash table at the usual load (30 on average) and of
// the frequency sketch (12 on average). A test of the memory tier compares the
// weight with the real heap.
const tierOverhead = 48 + 30 + 12

// classes are the sizes of the small objects of Go's allocator; larger ones are
// whole pages. A test holds them against the running Go version.
var classes = [...]int64{
	8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240,
	256, 288, 320, 352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024,
	1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864,
	5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568,
	14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768,
}

const pageSize = 8 << 10

// sizeClass returns how much memory an allocation of n bytes takes.
func sizeClass(n int64) int64 {
	if n > classes[len(classes)-1] {
		return (n + pageSize - 1) &^ (pageSize - 1)
	}
	if n <= 0 {
		return 0
	}
	i, _ := slices.BinarySearch(classes[:], n)
	return classes[i]
}

var structWeight = sizeClass(int64(unsafe.Sizeof(Object{})))

// Weight returns the memory in bytes that the object takes while it is stored:
// its allocations, rounded as the allocator rounds them, and what the memory
// tier needs to find and rank it. A shared body counts in each object. The
// weight of an object never changes.
func (o *Object) Weight() int64 {
	w := structWeight + sizeClass(int64(len(o.rec))) + tierOverhead
	if o.large != nil {
		w += o.large.weight
	}
	return w
}
