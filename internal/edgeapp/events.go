package edgeapp

import (
	"context"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Emit has an event emitted through the events app of the running config, with
// the edge app as its origin, and returns at once. Without a running config it
// does nothing; while another config takes its place, an event may be lost with it.
//
// Handlers run one event after the other on a goroutine of their own, so that a
// slow one holds up no request. Beyond maxEvents that wait further ones are
// dropped and counted.
func Emit(name string, data map[string]any) {
	if live.running.Load() != nil {
		waiting.add(event{name, data})
	}
}

// maxEvents is how many events may wait for slow handlers.
const maxEvents = 256

var dropped = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "caddy_edge_events_dropped_total", Help: "Events that were not emitted because the handlers of earlier ones took too long.",
})

type event struct {
	name string
	data map[string]any
}

// events wait for their handlers, over every config.
type events struct {
	mu   sync.Mutex
	list []event
	busy bool // a goroutine emits them; it ends when none is left
}

var waiting events

func (q *events) add(e event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == maxEvents {
		dropped.Inc()
		return
	}
	q.list = append(q.list, e)
	if !q.busy {
		q.busy = true
		go q.emit()
	}
}

// take returns the next event.
func (q *events) take() (e event, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		q.list, q.busy = nil, false
		return event{}, false
	}
	e, q.list = q.list[0], q.list[1:]
	return e, true
}

func (q *events) emit() {
	for e, ok := q.take(); ok; e, ok = q.take() {
		e.emit()
	}
}

// emit runs the handlers. One that panics must not take the process along.
func (e event) emit() {
	defer func() {
		if p := recover(); p != nil {
			caddy.Log().Named("edge").Error("the handler of an event panicked", zap.String("event", e.name), zap.Any("panic", p))
		}
	}()
	for {
		a := live.running.Load()
		if a == nil {
			return
		}
		// Apps start in no particular order, and the events app takes its handlers in
		// when it starts: nobody may emit meanwhile.
		<-a.ready
		if a == live.running.Load() { // it was not rejected
			a.events.Emit(a.ctx, e.name, e.data)
			return
		}
	}
}

// loadEvents finds the app that events are emitted through, and has ready closed
// when all apps have started.
func (a *App) loadEvents() error {
	app, err := a.ctx.App("events")
	if err != nil {
		return err
	}
	a.events = app.(*caddyevents.App)
	a.ready = make(chan struct{})
	a.getReady = sync.OnceFunc(func() { close(a.ready) })
	return a.events.On("started", allStarted{a.getReady})
}

// allStarted is called with the event that Caddy emits when all apps have started.
type allStarted struct{ then func() }

// Handle implements caddyevents.Handler.
func (s allStarted) Handle(context.Context, caddy.Event) error {
	s.then()
	return nil
}

var _ caddyevents.Handler = allStarted{}
