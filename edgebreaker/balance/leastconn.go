package balance

// pickLeastConn picks who has the fewest requests in flight for its weight, among
// those not in slow start. Ties go by weight at random, so that an idle pool is
// shared by weight as well. Active/Weight and not (Active+1)/Weight is compared: by
// the latter the heaviest would get everything as long as it is idle.
func pickLeastConn(pool []Candidate, random func() float64) int {
	best, ties := -1, 0
	var tied int64 // weight of all as good as the best
	for i := range pool {
		c := &pool[i]
		if !c.full() {
			continue
		}
		order := -1
		if best >= 0 {
			order = c.compareActive(&pool[best])
		}
		switch {
		case order < 0:
			best, ties, tied = i, 1, c.weight()
		case order == 0:
			ties++
			tied += c.weight()
		}
	}
	if ties < 2 {
		return best
	}
	left := int64(random() * float64(tied))
	for i := best; i < len(pool); i++ {
		if c := &pool[i]; c.full() && c.compareActive(&pool[best]) == 0 {
			if left -= c.weight(); left < 0 {
				return i
			}
		}
	}
	return best
}

// compareActive compares the requests in flight for the weight.
func (c *Candidate) compareActive(other *Candidate) int {
	mine, its := int64(c.Active)*other.weight(), int64(other.Active)*c.weight()
	switch {
	case mine < its:
		return -1
	case mine > its:
		return 1
	}
	return 0
}
