// Package poolref shares values between the configs of a process, so that a
// reload keeps them: the new config takes its reference before the old one
// releases its own.
//
// It wraps caddy.UsagePool such that an instance releases exactly what it took.
// Deleting from the pool by name, as the bare UsagePool asks for, drops the
// reference of the live config when a rejected one is cleaned up.
package poolref

import (
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

// Pool holds values by key for as long as somebody has a reference to them.
// It is safe for concurrent use. Use New to make one, once per process and kind
// of value, in a package variable.
//
// Values must not keep a logger, replacer or context of the config that made
// them, because they outlive it.
type Pool[T caddy.Destructor] struct {
	values *caddy.UsagePool
}

// New returns an empty pool.
func New[T caddy.Destructor]() *Pool[T] {
	return &Pool[T]{values: caddy.NewUsagePool()}
}

// Take returns a new reference to the value of key. When there is none, make
// is called, once even for concurrent callers; its error is returned to all of
// them and nothing is stored. The key must hold everything that makes two
// values interchangeable, and no secrets, as it appears in admin replies.
//
// The caller must release the reference, in Cleanup, which Caddy also calls
// after a failed Provision. make must not use the pool.
func (p *Pool[T]) Take(key string, make func() (T, error)) (*Ref[T], error) {
	value, _, err := p.values.LoadOrNew(key, func() (caddy.Destructor, error) { return make() })
	if err != nil {
		return nil, err
	}
	return &Ref[T]{pool: p, key: key, value: value.(T)}, nil
}

// Range calls f for each value, in no particular order, until f returns false.
// f runs under the pool's lock: it must be quick and must not use the pool.
func (p *Pool[T]) Range(f func(key string, value T) bool) {
	p.values.Range(func(key, value any) bool { return f(key.(string), value.(T)) })
}

// Peek returns the value of key without taking a reference, for requests of
// the admin API. The value may be destructed while the caller still uses it.
func (p *Pool[T]) Peek(key string) (value T, ok bool) {
	p.Range(func(k string, v T) bool {
		if k == key {
			value, ok = v, true
		}
		return !ok
	})
	return value, ok
}

// Ref is one reference to a pooled value. The nil reference is valid and holds
// the zero value.
type Ref[T caddy.Destructor] struct {
	pool    *Pool[T]
	key     string
	value   T
	release sync.Once
}

// Value returns the referenced value. It must not be used after Release.
func (r *Ref[T]) Value() T {
	if r == nil {
		var zero T
		return zero
	}
	return r.value
}

// Release gives the reference back. The last one of a key removes the value
// from the pool and destructs it; the error is Destruct's. Further calls, and
// calls on a nil reference, do nothing.
func (r *Ref[T]) Release() error {
	if r == nil {
		return nil
	}
	var err error
	r.release.Do(func() {
		if _, destructErr := r.pool.values.Delete(r.key); destructErr != nil {
			err = fmt.Errorf("closing %s: %w", r.key, destructErr)
		}
	})
	return err
}
