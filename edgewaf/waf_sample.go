package edgewaf

import "math/rand/v2"

// sampled reports whether a request is among those that are looked at.
func (f *Firewall) sampled() bool {
	return f.Sample >= 100 || rand.Float64()*100 < f.Sample //nolint:gosec // nothing depends on it being hard to guess
}
