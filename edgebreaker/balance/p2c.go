package balance

// pickP2C draws two different ones by weight, and picks the better, among those not
// in slow start (Mitzenmacher, The Power of Two Choices in Randomized Load
// Balancing). total is their weight.
func pickP2C(pool []Candidate, total int64, random func() float64) int {
	first := drawFull(pool, -1, total, random)
	if total -= pool[first].weight(); total == 0 {
		return first
	}
	second := drawFull(pool, first, total, random)
	if pool[second].better(&pool[first]) {
		return second
	}
	return first
}

// better compares the expected latencies: that of one request times all that are in
// flight, for the weight. If one is not known, only the requests count: a backend
// without samples must neither get everything nor nothing.
func (c *Candidate) better(other *Candidate) bool {
	mine, its := c.load(), other.load()
	if c.Latency > 0 && other.Latency > 0 {
		mine *= float64(c.Latency)
		its *= float64(other.Latency)
	}
	return mine < its
}

// drawFull draws one that is not in slow start, by weight, but not the one at
// except. The weight of those in question is total, above 0.
func drawFull(pool []Candidate, except int, total int64, random func() float64) int {
	left := int64(random() * float64(total))
	for i := range pool {
		if i == except || !pool[i].full() {
			continue
		}
		if left -= pool[i].weight(); left < 0 {
			return i
		}
	}
	return except // not reached: random is below 1
}
