package breaker

import "time"

// statistics tell about the last seconds, whatever the state is.
type statistics struct {
	head    int64 // number of the newest second
	seconds [statSeconds + 1]second
	latency latencies
}

// statSeconds are the whole seconds that statistics look back, plus the one that
// is going on.
const statSeconds = 10

type second struct{ began, answered, failed uint32 }

func (s *statistics) second(t int64) *second {
	n := slotOf(t, time.Second)
	if n != s.head {
		for i := max(s.head+1, n-statSeconds); i <= n; i++ {
			s.seconds[wrap(i, statSeconds+1)] = second{}
		}
		s.head = n
	}
	return &s.seconds[wrap(n, statSeconds+1)]
}

func (s *statistics) began(t int64) { s.second(t).began++ }

func (s *statistics) answered(t int64, failed bool) {
	sec := s.second(t)
	sec.answered++
	if failed {
		sec.failed++
	}
}

func (s *statistics) broke(t int64) { s.second(t).failed++ }

// rates returns the requests begun per second, and the share of those answered
// that failed.
func (s *statistics) rates(t int64) (rps, failed float64) {
	s.second(t)
	var sum second
	for i := range s.seconds {
		sum.began += s.seconds[i].began
		sum.answered += s.seconds[i].answered
		sum.failed += s.seconds[i].failed
	}
	elapsed := float64(statSeconds) + float64(t-s.head*int64(time.Second))/float64(time.Second)
	if answered := max(sum.answered, sum.failed); answered > 0 {
		failed = float64(sum.failed) / float64(answered)
	}
	return float64(sum.began) / elapsed, failed
}
