package edgebreaker

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
	"github.com/caddyedge/caddy-edge/internal/cfparse"
)

const directive = "edge_breaker"

// Defaults of the options.
const (
	DefaultName          = "default"
	DefaultFailures      = 5
	DefaultMinRequests   = 20
	DefaultWindow        = 10 * time.Second
	DefaultSuccesses     = 3
	DefaultProbes        = 3
	DefaultOpen          = 30 * time.Second
	DefaultMaxOpen       = 5 * time.Minute
	DefaultMaxEjection   = 0.5
	DefaultStep          = 10 * time.Second
	DefaultRetryBudget   = 0.2
	DefaultRetryMin      = 10
	DefaultHeaderTimeout = time.Minute
	DefaultQueueDeadline = 100 * time.Millisecond
)

// Bounds of what the core does not check.
const (
	mostConcurrency    = 1_000_000
	mostFailures       = 1_000_000
	leastDuration      = time.Millisecond
	longestTimeout     = 24 * time.Hour
	longestQueue       = time.Minute
	off                = cfparse.Off
	mostRetryPerSecond = 1_000_000
)

// SlowStart is how a backend gets its share of the requests back after it was open
// or unhealthy: by Steps, each for the time Each, or evenly over Duration.
type SlowStart struct {
	// Steps are shares above 0 up to 1. Default: 0.25, 0.5, 0.75, 1.
	Steps []float64 `json:"steps,omitempty"`
	// Each is the time of one step. Default: 10s.
	Each caddy.Duration `json:"each,omitempty"`
	// Duration is the time in which the share grows from a tenth to 1. Default:
	// none, there are steps.
	Duration caddy.Duration `json:"duration,omitempty"`
	// Off gives it all back at once. Default: false.
	Off bool `json:"off,omitempty"`
}

var defaultSteps = []float64{0.25, 0.5, 0.75, 1}

// ramp returns the rules for the core; those of nil are the defaults.
func (s *SlowStart) ramp() (breaker.Ramp, error) {
	switch {
	case s == nil:
		return breaker.Ramp{Shares: defaultSteps, Each: DefaultStep}, nil
	case s.Off && (len(s.Steps) > 0 || s.Each != 0 || s.Duration != 0):
		return breaker.Ramp{}, errors.New("slow_start: off, but with steps or a duration")
	case s.Off:
		return breaker.Ramp{}, nil
	case s.Duration != 0 && (len(s.Steps) > 0 || s.Each != 0):
		return breaker.Ramp{}, errors.New("slow_start: has both steps and a duration")
	}
	for option, d := range map[string]caddy.Duration{"duration": s.Duration, "each": s.Each} {
		if d != 0 && within(d, longestTimeout) != nil {
			return breaker.Ramp{}, fmt.Errorf("slow_start: %s: %w", option, within(d, longestTimeout))
		}
	}
	if s.Duration != 0 {
		return breaker.Ramp{Linear: time.Duration(s.Duration)}, nil
	}
	ramp := breaker.Ramp{Shares: s.Steps, Each: time.Duration(s.Each)}
	if len(ramp.Shares) == 0 {
		ramp.Shares = defaultSteps
	}
	for i, share := range ramp.Shares {
		if i > 0 && share <= ramp.Shares[i-1] {
			return breaker.Ramp{}, fmt.Errorf("slow_start: %.4g%% after %.4g%%: each step must be above the one before; all of the share follows the last one", share*100, ramp.Shares[i-1]*100)
		}
	}
	orDefault(&ramp.Each, DefaultStep)
	return ramp, nil
}

// within checks a duration that has the least bound of all of them.
func within(d caddy.Duration, most time.Duration) error {
	if time.Duration(d) < leastDuration || time.Duration(d) > most {
		return fmt.Errorf("invalid duration %s: must be from %s to %s", brief(time.Duration(d)), leastDuration, brief(most))
	}
	return nil
}

// brief writes a duration as people do: 24h, not 24h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// provision checks the options and fills in the defaults.
func (h *Handler) provision(ctx caddy.Context) error {
	orDefault(&h.Name, DefaultName)
	if !validName(h.Name) {
		return fmt.Errorf("%s: name: invalid value %q: want letters, digits, dots, - and _", directive, h.Name)
	}
	for _, check := range []func() error{h.provisionRules, h.provisionResults, h.provisionRetries, h.provisionLimits} {
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", directive, err)
		}
	}
	if err := h.provisionFallback(ctx); err != nil {
		return fmt.Errorf("%s: %w", directive, err)
	}
	return nil
}

// validName reports whether a name can stand in logs and labels as it is.
func validName(s string) bool {
	return s != "" && strings.Trim(s, "-_.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// provisionRules makes the rules of the core.
func (h *Handler) provisionRules() error {
	switch {
	case h.FailureRatio == 0 && h.FailureMinRequests != 0:
		return errors.New("failure_min_requests: without failure_ratio")
	case h.SlowRatio == 0 && (h.SlowMinRequests != 0 || h.SlowLatency != 0):
		return errors.New("slow_latency and slow_min_requests: without slow_ratio")
	case h.FailureRatio == 0 && h.SlowRatio == 0 && h.Window != 0:
		return errors.New("window: without failure_ratio or slow_ratio")
	case h.SlowLatency != 0 && within(h.SlowLatency, longestTimeout) != nil:
		return fmt.Errorf("slow_latency: %w", within(h.SlowLatency, longestTimeout))
	case h.Failures < 0 && h.Failures != off:
		return fmt.Errorf("failures: invalid number %d: must be from 1 to %d, or off (-1)", h.Failures, mostFailures)
	case h.Failures < 0 && h.FailureRatio == 0 && h.SlowRatio == 0:
		return errors.New("failures: off, and there is neither failure_ratio nor slow_ratio: nothing would open a backend")
	}
	orDefault(&h.Failures, DefaultFailures)
	orDefault(&h.FailureMinRequests, DefaultMinRequests)
	orDefault(&h.SlowMinRequests, DefaultMinRequests)
	orDefault(&h.Window, caddy.Duration(DefaultWindow))
	orDefault(&h.Successes, DefaultSuccesses)
	orDefault(&h.Probes, DefaultProbes)
	orDefault(&h.Open, caddy.Duration(DefaultOpen))
	orDefault(&h.MaxOpen, max(caddy.Duration(DefaultMaxOpen), h.Open))
	orDefault(&h.MaxEjection, DefaultMaxEjection)
	if !(h.MaxEjection > 0 && h.MaxEjection <= 1) {
		return fmt.Errorf("max_ejection: invalid share %v: must be above 0 and at most 1", h.MaxEjection)
	}
	ramp, err := h.SlowStart.ramp()
	if err != nil {
		return err
	}
	h.rules = breaker.Config{
		Failures: max(h.Failures, 0), FailureRatio: h.FailureRatio, FailureMinRequests: h.FailureMinRequests,
		SlowRatio: h.SlowRatio, Slow: time.Duration(h.SlowLatency), SlowMinRequests: h.SlowMinRequests, Window: time.Duration(h.Window),
		Successes: h.Successes, Probes: h.Probes, OpenFor: time.Duration(h.Open), MaxOpenFor: time.Duration(h.MaxOpen), Ramp: ramp,
	}
	return h.rules.Validate()
}

// provisionRetries checks what bounds retries.
func (h *Handler) provisionRetries() error {
	ratio, floor := DefaultRetryBudget, DefaultRetryMin
	if h.RetryBudget != nil {
		ratio = *h.RetryBudget
	}
	if h.RetryMinPerSecond != nil {
		floor = *h.RetryMinPerSecond
	}
	if floor < 0 || floor > mostRetryPerSecond {
		return fmt.Errorf("retry_min_per_second: invalid number %d: must be from 0 to %d", floor, mostRetryPerSecond)
	}
	var err error
	if h.budget, err = breaker.NewBudget(ratio, floor); err != nil {
		return err
	}
	h.methods, err = newMethods(h.RetryMethods)
	return err
}

// provisionLimits checks deadlines, concurrency and the status of refusals.
func (h *Handler) provisionLimits() error {
	for _, d := range []struct {
		option string
		value  *caddy.Duration
	}{{"header_timeout", &h.HeaderTimeout}, {"timeout", &h.Timeout}} {
		if err := within(*d.value, longestTimeout); err != nil && *d.value != 0 && *d.value != off {
			return fmt.Errorf("%s: %w, or off (-1)", d.option, err)
		}
	}
	switch {
	case h.Timeout > 0 && h.HeaderTimeout > h.Timeout:
		return fmt.Errorf("header_timeout: %s is more than timeout, %s", time.Duration(h.HeaderTimeout), time.Duration(h.Timeout))
	case h.Concurrency < 0 || h.Concurrency > mostConcurrency:
		return fmt.Errorf("concurrency: invalid number %d: must be from 1 to %d", h.Concurrency, mostConcurrency)
	case h.Queue < 0 || h.Queue > mostConcurrency:
		return fmt.Errorf("queue: invalid number %d: must be from 0 to %d", h.Queue, mostConcurrency)
	case h.Concurrency == 0 && (h.Queue != 0 || h.QueueDeadline != 0):
		return errors.New("queue and queue_deadline: without concurrency")
	case h.Queue == 0 && h.QueueDeadline != 0:
		return errors.New("queue_deadline: without queue")
	case h.QueueDeadline != 0 && within(h.QueueDeadline, longestQueue) != nil:
		return fmt.Errorf("queue_deadline: %w", within(h.QueueDeadline, longestQueue))
	case h.Fallback != nil && h.Status != 0:
		return errors.New("status: not with a fallback, which has its own")
	case h.Status != 0 && !validStatus(h.Status):
		return fmt.Errorf("status: %w", errInvalid("value", strconv.Itoa(h.Status), wantStatus))
	}
	orDefault(&h.HeaderTimeout, caddy.Duration(DefaultHeaderTimeout))
	h.Timeout = max(h.Timeout, 0)
	orDefault(&h.QueueDeadline, caddy.Duration(DefaultQueueDeadline))
	orDefault(&h.Status, http.StatusServiceUnavailable)
	return nil
}

// validStatus reports whether a refusal may have that status.
func validStatus(n int) bool { return n == http.StatusTooManyRequests || n >= 500 && n <= 599 }

const wantStatus = "must be from 500 to 599, or 429"

// provisionResults checks what is a failure.
func (h *Handler) provisionResults() error {
	var err error
	if h.failing, err = newStatuses(h.FailureStatus); err != nil {
		return err
	}
	if len(h.GRPCStatus) == 0 {
		h.GRPCStatus = defaultGRPC
	}
	for _, name := range h.GRPCStatus {
		code, ok := parseGRPC(name)
		if !ok || code == 0 {
			return fmt.Errorf("grpc_status: unknown result %q: want a name such as UNAVAILABLE, or a number from 1 to %d", name, len(grpcNames)-1)
		}
		h.grpc |= 1 << code
	}
	return nil
}

// statuses is a set of status codes.
type statuses [600]bool

func newStatuses(list []int) (s statuses, err error) {
	if len(list) == 0 {
		list = []int{5}
		defer func() { s[http.StatusNotImplemented], s[http.StatusHTTPVersionNotSupported] = false, false }()
	}
	for _, n := range list {
		switch {
		case n >= 1 && n <= 5:
			for code := n * 100; code < (n+1)*100; code++ {
				s[code] = true
			}
		case n >= 100 && n < len(s):
			s[n] = true
		default:
			return s, fmt.Errorf("failure_status: invalid status %d: want 100 to 599, or 1 to 5 for a class", n)
		}
	}
	return s, nil
}

func (s *statuses) has(code int) bool { return code >= 0 && code < len(s) && s[code] }

// grpcNames are the results of gRPC by their codes.
var grpcNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

const grpcDeadlineExceeded = 4

var defaultGRPC = []string{"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}

func parseGRPC(s string) (code int, ok bool) {
	for i, name := range grpcNames {
		if name == s {
			return i, true
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n < len(grpcNames)
}

// errInvalid says what is wrong with a value.
func errInvalid(what, value, want string) error {
	return fmt.Errorf("invalid %s %q: %s", what, value, want)
}
