package adaptive

// uncut remembers what was learned when new bounds cut it, until something else
// is learned: the configuration with those bounds may be rejected in the next
// moment, and the one before it applied again.
type uncut struct{ learned, cutTo float64 }

// bound brings a value into new bounds.
func (u *uncut) bound(value, least, most float64) float64 {
	if u.learned == 0 || value != u.cutTo {
		u.learned = value
	}
	u.cutTo = min(max(u.learned, least), most)
	return u.cutTo
}
