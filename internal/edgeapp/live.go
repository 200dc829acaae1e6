package edgeapp

import (
	"slices"
	"sync"
	"sync/atomic"
)

// configs are the apps that have started and not stopped: while a config takes
// another one's place there are two.
type configs struct {
	mu      sync.Mutex
	started []*App // the last one is the running one
	// running is for state that outlives configs and has no context of its own.
	running atomic.Pointer[App]
}

var live configs

// start makes a the running config.
func (c *configs) start(a *App) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := a.apply(); err != nil {
		return c.resume(err)
	}
	c.started = append(c.started, a)
	c.running.Store(a)
	c.settle()
	return nil
}

// settle tells the config that is alone that it is.
func (c *configs) settle() {
	if len(c.started) != 1 {
		return
	}
	for _, f := range c.started[0].settled {
		f()
	}
}

// stop ends a config. If it was the running one, the one before it runs on.
func (c *configs) stop(a *App) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = slices.DeleteFunc(c.started, func(b *App) bool { return a == b })
	if c.running.Load() != a {
		c.settle()
		return nil
	}
	c.running.Store(nil)
	return c.resume(nil)
}

// resume brings the last config that is still there back, after err.
func (c *configs) resume(err error) error {
	if len(c.started) == 0 {
		return err
	}
	last := c.started[len(c.started)-1]
	c.running.Store(last)
	if e := last.apply(); e != nil && err == nil {
		err = e
	}
	c.settle()
	return err
}

// apply calls the functions given to OnStart.
func (a *App) apply() error {
	for _, f := range a.onStart {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}
