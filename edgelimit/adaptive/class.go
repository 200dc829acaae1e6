package adaptive

// Class is the priority of a request. It decides which part of the limit the
// request may fill up; a higher class thus always finds room that a lower one
// had to leave.
type Class uint8

const (
	// Normal requests, the zero value, may fill the whole limit.
	Normal Class = iota
	// High requests may exceed the limit by 10 %: enough for health checks,
	// logins or payments, and little enough that a flood in this class adds no
	// more than 10 % to the latency.
	High
	// Low requests, such as crawlers and prefetches, may fill 80 % of the
	// limit. As the fair share seldom lets more than that be used, they are
	// served in full until the overload is real.
	Low
	// Background requests, the edge's own refreshes, may fill half of the
	// limit: they run only while there is no pressure, since a stale copy is
	// there anyway. The fair share, which begins at that half, never applies
	// to them.
	Background

	classes
)

var classNames = [classes]string{"normal", "high", "low", "background"}

var classShares = [classes]float64{1, 1.1, 0.8, 0.5}

// classOrder is the order in which waiting requests are admitted.
var classOrder = [classes]Class{High, Normal, Low, Background}

// String returns the lower-case name, "unknown" for a number that is no class.
func (c Class) String() string {
	if c >= classes {
		return "unknown"
	}
	return classNames[c]
}

// ParseClass returns the class of a name as String gives it.
func ParseClass(name string) (Class, bool) {
	for c, n := range classNames {
		if n == name {
			return Class(c), true
		}
	}
	return Normal, false
}
