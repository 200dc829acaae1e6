// Package breaker decides whether a backend may be asked. It knows nothing of
// HTTP: a caller enters an attempt, says when its header came and when it ended,
// and what each of these was worth. Time is an argument everywhere.
//
// The state belongs to the backend, the rules (Config) to the handler. Handlers
// with other rules share the state: an attempt is judged by the rules that it came
// with, and may probe if fewer probes than its own rules allow are under way,
// whoever sent them.
//
// # States
//
//	state          event                                       next state
//	closed         Failures consecutive failures               open
//	               FailureRatio or SlowRatio of the window     open
//	               anything else                               closed
//	open           Enter, before its time is over              open; refused
//	               Enter, after it                             half-open; a probe
//	half-open      Enter, Probes are under way                 half-open; refused
//	               Enter, fewer                                half-open; a probe
//	               a probe fails                               open, for longer
//	               fewer than Successes ended well             half-open
//	               Successes ended well, SlowRatio were slow   open, for longer
//	               Successes ended well otherwise              closed; slow start
//	               a probe is ignored                          half-open
//	any            Force(ForceOpen)                            open, until told otherwise
//	               Force(ForceClosed)                          closed, until told otherwise
//	forced open    anything, however long                      open; refused
//	               Force(Auto)                                 half-open
//	forced closed  anything                                    closed
//	               Force(Auto)                                 closed, counting afresh
//
// # Late results
//
// Each change of state begins an epoch, and an attempt speaks to the epoch in which
// it began. Later it still counts in Active and in the statistics, but not for
// any rule, nor in the average that P2C goes by:
//
//	began in       ends in                   it would otherwise
//	closed         open                      prolong the open time
//	closed         half-open, the next one   open it again, or help to close it,
//	                                         though it tells nothing of the present
//	closed         closed, after a recovery  open it for a failure of last time
//	half-open      open                      be a success of a backend that failed
//	half-open      another half-open         the same, and free the slot of another probe
//	half-open      closed                    count twice: others have closed it
//	any            any, an order in between  undo what an operator decided
//
// # Probes
//
// A probe holds its slot until its header, so that long responses do not keep
// others from probing, but it counts as a success only when it ended well or has
// been streamed for a while (Attempt.Streaming). The slot comes back whatever
// happens, also if the outcome is Ignored, which counts neither way. If there is
// neither a header nor an end, as when a client sends its body slowly, it comes back
// after 30 to 60 s. So whenever no probe is under way there is room
// for one: half-open waits for nothing but requests.
//
// # What a failure counts
//
// One attempt counts one failure, at the header or after. A good header already
// counts in the window of the ratios, and ends a run of failures at the header; it
// must, since the success of a stream comes so late that its few failures would look
// consecutive. A run of failures after the header, which is counted apart, ends with
// a good end only. Otherwise a backend that breaks off every body would stay.
//
// # Cost
//
// Ready, Share, Latency and Active take no lock, except Ready of a half-open
// backend. Everything else takes the backend's own mutex for some ten nanoseconds.
// Nothing allocates, but that the first attempt of a handler with a ratio makes the
// window. A backend has 2.5 KiB, with a window 6.5 KiB.
package breaker
