package mux

import "time"

// deadline is a moment at which who waits is woken.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set sets the moment, zero for none, and the channel that wakes.
func (d *deadline) set(t time.Time, wake chan struct{}) {
	d.stop()
	d.at = t
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		notify(wake)
		return
	}
	d.at = time.Now().Add(left) // by the clock that the timer goes by
	d.timer = time.AfterFunc(left, func() { notify(wake) })
}

// passed reports whether the moment is over.
func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
