//go:build !race

package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/internal/crstest"
)

// leastRegression is how many of the cases must pass.
const leastRegression = 4640

// regressionExceptions are the cases that do not pass over the network, with the reason.
var regressionExceptions = map[string]string{
	"920100-8": "Apache itself refuses a colon in a path; the rules have nothing against it",
	"920280-3": "Go refuses the version, with 505",
	"920290-4": "in HTTP/1.0 Go does not tell an empty Host from none, which is 920280",
	"920430-3": "Go refuses the version, with 505",
	"920430-5": "Go answers a request line without a version, with 400",
	"920430-8": "Go refuses the version, with 505",
	"920430-9": "Go refuses the version, with 505",
	"920620-1": "Apache makes one field of two; Go hands on both, which the rule is against",
	"932207-7": "the rule is found; events tell a value as it came, without the transformations of the rule",
	"933120-2": "the rule is found; events tell a value as it came, without the transformations of the rule",
}

// regressionSite has the engine see all that the cases look for. Caddy drops fields with
// "_" or "." in their names before any handler unless a server expects them, and then
// drops those with "-" in that place. So there is a second server that expects the names
// that the cases have, for the cases that have them.
const regressionSite = `
	{
		servers 127.0.0.1:{{port "aliases"}} {
			protocols h1
			expected_underscore_headers {{.underscores}}
			expected_dot_headers {{.dots}}
		}
	}
	(inspected) {
		route {
			header >X-Case {http.request.uuid}
			edge_waf {
				name regression
				basic off
				log_rate 1000000
				crs {
					paranoia 4
					inbound 5
					outbound 4
					# What builds on JSON or XML is allowed else, since it is read.
					allowed_content_types only application/x-www-form-urlencoded multipart/form-data text/xml application/xml application/soap+xml application/json
					include_before {{.setup}}
				}
				response {
					types text/html text/plain
				}
			}
			reverse_proxy {{.origin}}
		}
	}
	{{http "site"}}, http://:{{port "site"}} {
		import inspected
	}
	{{http "aliases"}}, http://:{{port "aliases"}} {
		import inspected
	}
`

// regressionOutcome is what came of one request.
type regressionOutcome struct {
	status int
	id     string // "" if no handler saw the request
	err    error
}

// TestRegressionOverHTTP sends the tests of the rule set's authors to the real binary.
func TestRegressionOverHTTP(t *testing.T) {
	cases, err := crstest.Cases()
	require.NoError(t, err)
	origin := httptest.NewServer(http.HandlerFunc(crstest.Reflect))
	t.Cleanup(origin.Close)
	setup := filepath.Join(t.TempDir(), "setup.conf")
	require.NoError(t, os.WriteFile(setup, []byte(crstest.Setup), 0o600))
	e := harness.Start(t, regressionSite, harness.Vars{
		"origin": origin.Listener.Addr().String(), "setup": setup,
		"underscores": strings.Join(fieldNames(cases, "_"), " "), "dots": strings.Join(fieldNames(cases, "."), " "),
	})

	outcomes := make([][]regressionOutcome, len(cases))
	var group sync.WaitGroup
	work := make(chan int)
	for range 2 {
		group.Go(func() {
			for n := range work {
				for i := range cases[n].Stages {
					outcomes[n] = append(outcomes[n], sendCase(e, &cases[n].Stages[i]))
				}
			}
		})
	}
	for n := range cases {
		work <- n
	}
	close(work)
	group.Wait()

	events := regressionEvents(t, e)
	passed, failed, omitted := 0, 0, 0
	for n := range cases {
		c := &cases[n]
		why := ""
		for i := range c.Stages {
			o := outcomes[n][i]
			for _, event := range events[o.id] {
				omitted += min(event.Omitted, 1)
			}
			if why == "" {
				why = judgeCase(c, &c.Stages[i], o, events[o.id])
			}
		}
		reason, excepted := regressionExceptions[c.Name()]
		switch {
		case why == "":
			passed++
			if excepted {
				t.Errorf("%s passes, though it is said not to: %s", c.Name(), reason)
			}
		case excepted:
			failed++
			t.Logf("%s: %s (%s)", c.Name(), why, reason)
		default:
			failed++
			t.Errorf("%s: %s", c.Name(), why)
		}
	}
	t.Logf("%d of %d cases pass, %d do not; %d events leave findings out", passed, len(cases), failed, omitted)
	require.Len(t, cases, 4674)
	require.GreaterOrEqual(t, passed, leastRegression)
	for name := range regressionExceptions {
		require.True(t, slices.ContainsFunc(cases, func(c crstest.Case) bool { return c.Name() == name }), "there is no case %s", name)
	}
}

// fieldNames returns the names of fields that have a sign in them.
func fieldNames(cases []crstest.Case, sign string) []string {
	var names []string
	for n := range cases {
		for i := range cases[n].Stages {
			for _, f := range cases[n].Stages[i].Fields {
				if strings.Contains(f[0], sign) {
					names = append(names, f[0])
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// sendCase sends a request as it is.
func sendCase(e *harness.Edge, s *crstest.Stage) (o regressionOutcome) {
	site := "site"
	if slices.ContainsFunc(s.Fields, func(f [2]string) bool { return strings.ContainsAny(f[0], "_.") }) {
		site = "aliases"
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL(site), "http://"))
	if err != nil {
		return regressionOutcome{err: err}
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return regressionOutcome{err: err}
	}
	if _, err := conn.Write(s.Wire); err != nil {
		return regressionOutcome{err: err}
	}
	reader := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(reader, &http.Request{Method: s.Method})
		if err != nil {
			return regressionOutcome{err: err}
		}
		resp.Body.Close()
		if resp.StatusCode >= 200 {
			return regressionOutcome{status: resp.StatusCode, id: resp.Header.Get("X-Case")}
		}
	}
}

// regressionEvents returns what the log says, by the ids of requests. The admin API knows
// how much that must be.
func regressionEvents(t *testing.T, e *harness.Edge) map[string][]wafEvent {
	logs := func() []harness.Entry {
		return slices.DeleteFunc(e.Logs(), func(entry harness.Entry) bool { return entry["waf"] == nil })
	}
	told := int(wafStatusOf(t, e).Firewalls[0].Events)
	poll(t, "all events are in the log", func() bool { return len(logs()) == told })
	events := make(map[string][]wafEvent)
	for _, entry := range logs() {
		text, err := json.Marshal(entry["waf"])
		require.NoError(t, err)
		var event wafEvent
		require.NoError(t, json.Unmarshal(text, &event))
		events[event.RequestID] = append(events[event.RequestID], event)
	}
	return events
}

// judgeCase returns why a stage of a case fails, "" if it passes.
func judgeCase(c *crstest.Case, s *crstest.Stage, o regressionOutcome, events []wafEvent) string {
	if s.Expect.Error {
		if o.err == nil {
			return fmt.Sprintf("an error is expected, the status is %d", o.status)
		}
		return ""
	}
	if o.err != nil {
		return o.err.Error()
	}
	ids, lines, whole := toldOf(events)
	if s.Expect.Status != 0 && o.status != s.Expect.Status && !slices.Contains(ids, c.Rule) {
		return fmt.Sprintf("status %d instead of %d", o.status, s.Expect.Status)
	}
	for _, id := range s.Expect.Found {
		if !slices.Contains(ids, id) {
			return fmt.Sprintf("%d did not match (status %d): %v", id, o.status, ids)
		}
	}
	for _, id := range s.Expect.NotFound {
		if slices.Contains(ids, id) {
			return fmt.Sprintf("%d matched", id)
		}
		if !whole {
			return fmt.Sprintf("%d may have matched: findings were left out", id)
		}
	}
	refused := c.Rule == 922130 && slices.Equal(ids[:min(len(ids), 2)], unreadable)
	if p := s.Expect.Match; p != nil && !slices.ContainsFunc(lines, p.MatchString) && !refused {
		return fmt.Sprintf("no line matches %s: %v\n%s", p, ids, strings.Join(lines, "\n"))
	}
	if p := s.Expect.NoMatch; p != nil && slices.ContainsFunc(lines, p.MatchString) {
		return fmt.Sprintf("a line matches %s", p)
	}
	return ""
}

// unreadable are the rules by which content is refused that can't be read. The cases of
// 922130 say that this is as good as the rule itself.
var unreadable = []int{200002, 200003}

// The rules of the set that only add up what others found. The firewall leaves them out
// of what it tells: an event has the score and the threshold, by which they decide.
const (
	inboundBlocks  = 949110 // the score of a request reached the threshold
	outboundBlocks = 959100 // the same for a response
	scoresReported = 980170 // there are scores
)

// toldOf returns which rules matched, lines as the cases expect them in a log, and whether
// that is all there is.
func toldOf(events []wafEvent) (ids []int, lines []string, whole bool) {
	const outbound = 4 // is the threshold of responses alone
	whole = true
	for _, event := range events {
		whole = whole && event.Omitted == 0
		for _, f := range event.Findings {
			id, err := strconv.Atoi(f.Rule)
			if err != nil {
				continue // a reason of the firewall's own
			}
			ids = append(ids, id)
			lines = append(lines, fmt.Sprintf("[id %q] [msg %q] Matched Data: %s found within %s: %s", f.Rule, f.Message, f.Excerpt, f.Variable, f.Excerpt))
		}
		if event.Score > 0 {
			ids = append(ids, scoresReported)
		}
		if event.Score >= event.Threshold && event.Threshold > 0 {
			if event.Threshold == outbound {
				ids = append(ids, outboundBlocks)
				lines = append(lines, fmt.Sprintf("Outbound Anomaly Score Exceeded (Total Score: %d)", event.Score))
			} else {
				ids = append(ids, inboundBlocks)
				lines = append(lines, fmt.Sprintf("Inbound Anomaly Score Exceeded (Total Score: %d)", event.Score))
			}
		}
	}
	return ids, lines, whole
}
