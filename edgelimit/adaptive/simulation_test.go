package adaptive

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// simulation is a discrete event simulation of clients, a policy that admits
// their requests, and an origin with a FIFO queue in front of its workers. Time
// is simulated, and equal seeds give equal results.
type simulation struct {
	clients, abusers int
	honestLoad       float64 // requests per second of all honest clients together
	service          func(*rand.Rand) time.Duration
	clientTimeout    time.Duration
	abusersAbort     time.Duration // if not 0, the abusers' timeout
	abusersFresh     bool          // each request of an abuser comes from a client never seen before
	settle           time.Duration // how long after the start of a phase its result counts
	phases           []simulatedPhase
	seed             uint64
}

// simulatedPhase lasts for a while; its result is judged from settle on, up to a
// client's timeout before its end.
type simulatedPhase struct {
	name    string
	lasts   time.Duration
	load    float64 // requests per second of all clients together
	workers int
	slower  float64 // factor on the service time; 0 means 1
}

// phaseResult is what a phase came to.
type phaseResult struct {
	goodput float64 // answers in time, per second
	p95     time.Duration
	honest  float64 // share of honest requests that were answered in time
	refused float64 // per second
}

// policy decides which requests reach the simulated origin.
type policy interface {
	admit(now time.Time, client uint64) (Ticket, bool)
	answered(now time.Time, t Ticket, latency time.Duration)
	abandoned(now time.Time, t Ticket)
}

type simulatedRequest struct {
	ticket  Ticket
	honest  bool
	phase   int
	start   time.Duration
	ended   bool
	counted bool
}

type simulatedEvent struct {
	at      time.Duration
	kind    int
	request *simulatedRequest
}

const (
	arrival = iota
	answer
	impatience
	nextPhase
)

// eventHeap is a binary heap by time. It is typed, because container/heap takes
// most of the time of a simulation.
type eventHeap []simulatedEvent

func (h *eventHeap) push(e simulatedEvent) {
	events := append(*h, e)
	i := len(events) - 1
	for parent := (i - 1) / 2; i > 0 && e.at < events[parent].at; parent = (i - 1) / 2 {
		events[i] = events[parent]
		i = parent
	}
	events[i] = e
	*h = events
}

func (h *eventHeap) pop() simulatedEvent {
	events := *h
	first, e := events[0], events[len(events)-1]
	events = events[:len(events)-1]
	i := 0
	for child := 1; child < len(events); child = 2*i + 1 {
		if child+1 < len(events) && events[child+1].at < events[child].at {
			child++
		}
		if e.at <= events[child].at {
			break
		}
		events[i] = events[child]
		i = child
	}
	if len(events) > 0 {
		events[i] = e
	}
	*h = events
	return first
}

// judged reports whether a request at this time of the phase counts. Those at the
// end do not, because they are answered in the next phase.
func (s simulation) judged(phase int, at time.Duration) bool {
	return at >= s.settle && at < s.phases[phase].lasts-s.clientTimeout
}

// run returns one result for each phase.
func (s simulation) run(make func(now time.Time) policy) []phaseResult {
	type tally struct {
		good, honest, honestGood, refused int
		latencies                         []time.Duration
	}
	var (
		random  = rand.New(rand.NewPCG(s.seed, 1))
		epoch   = time.Unix(1e9, 0)
		admits  = make(epoch)
		events  eventHeap
		queue   []*simulatedRequest
		fresh   = uint64(1 << 40)
		busy    int
		phase   int
		started time.Duration
		tallies = slices.Repeat([]tally{{}}, len(s.phases))
	)
	push := func(at time.Duration, kind int, r *simulatedRequest) {
		events.push(simulatedEvent{at, kind, r})
	}
	work := func(now time.Duration) {
		p := s.phases[phase]
		for busy < p.workers && len(queue) > 0 {
			r := queue[0]
			queue = queue[1:]
			busy++
			push(now+time.Duration(float64(s.service(random))*max(p.slower, 1)), answer, r)
		}
	}
	push(0, arrival, nil)
	push(s.phases[0].lasts, nextPhase, nil)
	for {
		e := events.pop()
		now := epoch.Add(e.at)
		switch e.kind {
		case nextPhase:
			started = e.at
			if phase++; phase == len(s.phases) {
				results := []phaseResult{}
				for i, t := range tallies {
					seconds := (s.phases[i].lasts - s.settle - s.clientTimeout).Seconds()
					slices.Sort(t.latencies)
					result := phaseResult{
						goodput: float64(t.good) / seconds,
						honest:  float64(t.honestGood) / math.Max(float64(t.honest), 1),
						refused: float64(t.refused) / seconds,
					}
					if n := len(t.latencies); n > 0 {
						result.p95 = t.latencies[n*95/100]
					}
					results = append(results, result)
				}
				return results
			}
			push(e.at+s.phases[phase].lasts, nextPhase, nil)
			work(e.at)
		case arrival:
			load := s.phases[phase].load
			push(e.at+time.Duration(random.ExpFloat64()/load*1e9), arrival, nil)
			r := &simulatedRequest{phase: phase, start: e.at, counted: s.judged(phase, e.at-started)}
			honestLoad := min(s.honestLoad, load)
			client := uint64(random.IntN(s.abusers))
			if s.abusersFresh {
				fresh++
				client = fresh
			}
			if r.honest = random.Float64() < honestLoad/load; r.honest {
				client = uint64(s.abusers + random.IntN(s.clients-s.abusers))
			}
			ticket, ok := admits.admit(now, mixed(client+1))
			if r.counted && r.honest {
				tallies[phase].honest++
			}
			if !ok {
				if r.counted {
					tallies[phase].refused++
				}
				break
			}
			r.ticket = ticket
			queue = append(queue, r)
			patience := s.clientTimeout
			if !r.honest && s.abusersAbort > 0 {
				patience = s.abusersAbort
			}
			push(e.at+patience, impatience, r)
			work(e.at)
		case answer:
			busy--
			if r := e.request; !r.ended {
				r.ended = true
				latency := e.at - r.start
				admits.answered(now, r.ticket, latency)
				if r.counted {
					t := &tallies[r.phase]
					t.latencies = append(t.latencies, latency)
					t.good++
					if r.honest {
						t.honestGood++
					}
				}
			}
			work(e.at)
		case impatience:
			// The client is gone, the origin works on for nobody.
			if r := e.request; !r.ended {
				r.ended = true
				admits.abandoned(now, r.ticket)
				if r.counted {
					t := &tallies[r.phase]
					t.latencies = append(t.latencies, e.at-r.start)
				}
			}
		}
	}
}

// Service times, all with a mean of mean.
func exponential(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
}

func fixed(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return mean }
}

// heavyTailed gives 19 of 20 requests half of the mean, and the last one 10.5
// times the mean.
func heavyTailed(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		if r.IntN(20) == 0 {
			return mean * 21 / 2
		}
		return mean / 2
	}
}

// pareto has a shape of 1.5, an infinite variance, cut off at 2 s.
func pareto(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		least := float64(mean) / 3
		return min(time.Duration(least/math.Pow(1-r.Float64(), 1/1.5)), 2*time.Second)
	}
}
