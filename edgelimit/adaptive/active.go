package adaptive

import (
	"math"
	"math/bits"
)

// activeClients estimates how many different clients came lately by linear
// counting: each sets one bit, chosen by its hash, and the share of bits that
// are still zero tells the number. Two bitmaps take turns, so that the estimate
// covers the last one to two periods. Above some 300,000 clients the map is full
// and the estimate stays there.
type activeClients struct {
	now, before [activeBits / 64]uint64
	set         int // bits set in now or before
	rotateAt    int64
	estimate    float64 // made from set
}

const (
	activeBits   = 1 << 15
	activePeriod = int64(5e9)
)

// see notes a client at time t (ns).
func (a *activeClients) see(hash uint64, t int64) {
	a.turn(t)
	word, bit := hash/64%(activeBits/64), uint64(1)<<(hash%64)
	if a.now[word]&bit == 0 {
		a.now[word] |= bit
		if a.before[word]&bit == 0 {
			a.set++
			a.count()
		}
	}
}

// turn rotates the bitmaps when a period has ended.
func (a *activeClients) turn(t int64) {
	if t < a.rotateAt {
		return
	}
	a.before = a.now
	if t >= a.rotateAt+activePeriod {
		a.before = [activeBits / 64]uint64{}
	}
	a.now = [activeBits / 64]uint64{}
	a.rotateAt = t + activePeriod
	a.set = 0
	for _, word := range a.before {
		a.set += bits.OnesCount64(word)
	}
	a.count()
}

func (a *activeClients) count() {
	zero := max(activeBits-a.set, 1)
	a.estimate = activeBits * math.Log(activeBits/float64(zero))
}
