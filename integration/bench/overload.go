package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"
)

const (
	overloadWorkers = 16
	overloadService = 20 * time.Millisecond
	overloadTarget  = 150 * time.Millisecond
	overloadClients = 200
	overloadAbusers = 5
	// overloadHonest is what all honest clients want together, as a share of the
	// capacity; what is sent beyond comes from the abusers.
	overloadHonest   = 0.8
	overloadPatience = time.Second

	leastGoodput = 0.95
	mostSlowdown = 1.2
	leastHonest  = 0.9
	mostLate     = 10 * time.Millisecond
	overloadSeed = 1
)

// loadStep is a part of an overload.
type loadStep struct {
	name    string
	load    float64 // as a share of the capacity of all workers
	workers int
}

var overloadSteps = []loadStep{
	{"80 % load", 0.8, overloadWorkers},
	{"2x load", 2, overloadWorkers},
	{"origin halves", 2, overloadWorkers / 2},
	{"recovers", 2, overloadWorkers},
}

// overload is what a policy is shown.
type overload struct {
	policy string // lines of a Caddyfile
	steps  []loadStep
	lasts  time.Duration // each step
	settle time.Duration // from each step on, before it is judged
}

// runOverload sends twice what the origin can bear through edge_adaptive, and
// through what it is compared with.
func runOverload(ctx context.Context, b *bench) error {
	o := overload{
		policy: fmt.Sprintf("\tedge_adaptive {\n\t\tp95 %s\n\t}\n", overloadTarget),
		steps:  overloadSteps, lasts: time.Minute, settle: 30 * time.Second,
	}
	if b.short {
		o.lasts, o.settle = 10*time.Second, 5*time.Second
	}
	r, err := o.run(ctx, b)
	if err != nil {
		return err
	}
	for i := range o.steps {
		b.table.addStep(&o, i, r.tallies[i])
	}
	b.table.add(finding{
		what: "generator", measured: fmt.Sprintf("99 %% at most %s late", seconds(r.late)),
		target: fmt.Sprintf("<= %s: not the bottleneck", seconds(mostLate)), reached: r.late <= mostLate,
		beside: fmt.Sprintf("with the origin %.2f of %d processors, the edge %.2f", r.own, runtime.NumCPU(), r.edge),
	})
	interval := o.lasts / 6 // of the default 10s when nothing is shortened
	for _, baseline := range [][2]string{
		{"mode rate", fmt.Sprintf("\tedge_adaptive {\n\t\tmode rate\n\t\tp95 %s\n\t\tmax 2000\n\t\tinterval %s\n\t}\n", overloadTarget, interval)},
		{"nothing", ""},
	} {
		other := overload{policy: baseline[1], steps: overloadSteps[1:2], lasts: o.lasts, settle: o.settle}
		r, err := other.run(ctx, b)
		if err != nil {
			return err
		}
		t := r.tallies[0]
		b.table.add(finding{
			what: "baseline: " + baseline[0], measured: fmt.Sprintf("goodput %.2fx", t.goodput()/o.capacity(1)),
			beside: fmt.Sprintf("2x load, honest served %.1f %%, refused %.1f %%, given up after %s %.1f %%",
				t.honestServed()*100, t.share(t.refused)*100, overloadPatience, t.share(t.failed)*100),
		})
	}
	return nil
}

// addStep judges a step.
func (t *table) addStep(o *overload, i int, got tally) {
	s := o.steps[i]
	capacity := o.capacity(i)
	if s.load <= 1 {
		t.add(finding{
			what: "refused, " + s.name, measured: fmt.Sprintf("%d of %d", got.sent-got.served, got.sent),
			target: "none", reached: got.sent == got.served && got.sent > 0,
			beside: fmt.Sprintf("%d given up or failed", got.failed),
		})
	} else {
		t.add(finding{
			what: "goodput, " + s.name, measured: fmt.Sprintf("%.2fx, %.0f/s", got.goodput()/capacity, got.goodput()),
			target: fmt.Sprintf(">= %.2fx of %.0f/s", leastGoodput, capacity), reached: got.goodput() >= leastGoodput*capacity,
			beside: fmt.Sprintf("of %.0f/s, refused %.1f %%, given up %.2f %%", float64(got.sent)/got.lasts.Seconds(),
				got.share(got.refused)*100, got.share(got.failed)*100),
		})
	}
	p95 := got.p95()
	t.add(finding{
		what: "P95, " + s.name, measured: fmt.Sprintf("%.2fx, %s", p95.Seconds()/overloadTarget.Seconds(), seconds(p95)),
		target: fmt.Sprintf("<= %.1fx of %s", mostSlowdown, overloadTarget), reached: got.served > 0 && p95.Seconds() <= mostSlowdown*overloadTarget.Seconds(),
		beside: fmt.Sprintf("unloaded %s, median %s", overloadService, seconds(got.median())),
	})
	f := finding{what: "honest, " + s.name, measured: fmt.Sprintf("%.1f %% served", got.honestServed()*100)}
	if feasible := capacity / (overloadHonest * overloadCapacity); feasible >= 1 {
		f.target, f.reached = fmt.Sprintf(">= %.0f %%", leastHonest*100), got.honestServed() >= leastHonest
	} else {
		f.beside = fmt.Sprintf("there is room for %.1f %%", feasible*100)
	}
	t.add(f)
}

// overloadCapacity is how many requests per second all workers do.
const overloadCapacity = overloadWorkers * float64(time.Second) / float64(overloadService)

// capacity returns how many requests per second the workers of a step do.
func (o *overload) capacity(i int) float64 {
	return overloadCapacity * float64(o.steps[i].workers) / overloadWorkers
}

// overloadResult is what became of an overload.
type overloadResult struct {
	tallies   []tally       // of each step
	late      time.Duration // P99 of the generator
	own, edge float64       // processors used by generator and origin, and by the edge
}

// run starts an edge and an origin, and shows the edge the overload.
func (o *overload) run(ctx context.Context, b *bench) (r overloadResult, err error) {
	w, err := startWorkers(o.steps[0].workers, overloadService)
	if err != nil {
		return r, err
	}
	defer w.close()
	s, err := b.startSites(ctx, siteOptions{
		name: "edge", global: trustLoopback, sites: []string{o.policy + "\treverse_proxy " + w.addr + "\n"},
	})
	if err != nil {
		return r, err
	}
	defer s.close()
	for i, next := range o.steps[1:] {
		timer := time.AfterFunc(time.Duration(i+1)*o.lasts, func() { w.resize(next.workers) })
		defer timer.Stop()
	}
	//nolint:gosec // load is no secret
	l := openLoad{addrs: s.addrs, patience: overloadPatience, arrivals: o.arrivals(rand.New(rand.NewPCG(overloadSeed, 0)))}
	before, err := s.usedTime()
	if err != nil {
		return r, err
	}
	outcomes, err := l.run(ctx)
	if err != nil {
		return r, err
	}
	after, err := s.usedTime()
	if err != nil {
		return r, err
	}
	r.own, r.edge = after.since(before)
	var late sample
	for i := range outcomes {
		late = append(late, outcomes[i].late.Seconds())
	}
	r.late = duration(late.quantile(0.99))
	for i := range o.steps {
		from, to := time.Duration(i)*o.lasts+o.settle, time.Duration(i+1)*o.lasts
		r.tallies = append(r.tallies, tallyOf(l.arrivals, outcomes, from, to))
	}
	return r, nil
}

// arrivals returns the requests of all steps, at random moments.
func (o *overload) arrivals(random *rand.Rand) (all []arrival) {
	fields := make([]string, overloadClients)
	for i := range fields {
		fields[i] = forwardedFor(clientAddr(i))
	}
	end := time.Duration(len(o.steps)) * o.lasts
	for at := time.Duration(0); ; {
		load := o.steps[at/o.lasts].load * overloadCapacity
		if at += duration(random.ExpFloat64() / load); at >= end {
			return all
		}
		client := random.IntN(overloadAbusers)
		if random.Float64()*load < overloadHonest*overloadCapacity {
			client = overloadAbusers + random.IntN(overloadClients-overloadAbusers)
		}
		all = append(all, arrival{at: at, client: client, fields: fields[client]})
	}
}
