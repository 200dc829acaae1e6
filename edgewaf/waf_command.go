package edgewaf

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/internal/cli"
)

func init() {
	cli.Register(wafCommand)
}

// wafCommand is "caddy edge waf".
func wafCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "waf",
		Short: "Explains, tunes and changes what the firewall of a running edge does",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(wafTestCommand(), wafTuneCommand(), wafEventsCommand(), wafModeCommand())
	return cmd
}

// wafTestCommand is "caddy edge waf test".
func wafTestCommand() *cobra.Command {
	var (
		q      explainRequest
		body   string
		fields []string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "test 'METHOD URI'",
		Aliases: []string{"explain"},
		Short:   "Explains what the firewall would do with a request, rule by rule, without sending it",
		Long: `Describes a request to the running edge, which holds it against the rules of a firewall as
if it had come (POST /edge/waf/explain of the admin API), and prints the decision, each rule
that found something, where and what, and the line of the Caddyfile that would except it.

The request goes to no site and no origin. Nothing is counted, logged, or charged to a zone
of edge_limit, and rules about responses are not asked. To see what became of requests that
did come: caddy edge waf events.`,
		Example: `  caddy edge waf test 'GET /search?q=1+union+select+password+from+users'
  caddy edge waf test 'POST /login' -H 'Content-Type: application/json' -d '{"user": "x"}'
  caddy edge waf test 'POST /upload' -d @request.bin`,
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			method, uri, ok := strings.Cut(strings.TrimSpace(args[0]), " ")
			if !ok {
				method, uri = "", method
			}
			q.Method, q.URI = cmp.Or(method, http.MethodGet), strings.TrimSpace(uri)
			// A request as browsers send it, so that only what is asked about is found.
			q.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"caddy-edge"}}
			for _, field := range fields {
				name, value, ok := strings.Cut(field, ":")
				if !ok {
					return fmt.Errorf("header %q: want \"Name: value\"", field)
				}
				q.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
			}
			// In base64, since JSON has no bytes that are no text.
			q.BodyBase64 = []byte(body)
			if name, ok := strings.CutPrefix(body, "@"); ok {
				data, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				q.BodyBase64 = data
			}
			if len(q.BodyBase64) > 0 && q.Header.Get("Content-Type") == "" {
				q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			var reply explainReply
			if err := cli.Call(cmd, http.MethodPost, "/edge/waf/explain", q, &reply); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(reply)
			}
			reply.print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&fields, "header", "H", nil, `field of the request: "Name: value"`)
	cmd.Flags().StringVarP(&body, "data", "d", "", "content of the request, or @file")
	cmd.Flags().StringVar(&q.Firewall, "firewall", "", "name of the firewall, if not default")
	cmd.Flags().StringVar(&q.Client, "client", "", "address of the client (default 127.0.0.1)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cli.AddAddressFlags(cmd)
	return cmd
}

func (e *explainReply) print(w io.Writer) {
	verdict := map[string]string{
		"pass": "passes", "log": "passes; rules found something", "shadow": "passes in shadow mode; it would be blocked", "block": "is blocked",
		"skip": "is not looked at: skip", "allow": "is allowed",
	}[e.Action]
	fmt.Fprintf(w, "%s %s", e.Firewall, verdict)
	if e.Rule != "" {
		fmt.Fprintf(w, " (rule %s", e.Rule)
		if e.Status != 0 {
			fmt.Fprintf(w, ", status %d", e.Status)
		}
		fmt.Fprint(w, ")")
	}
	fmt.Fprintf(w, ": score %d of %d, %d µs\n", e.Score, e.Threshold, e.Micros)
	for _, f := range e.Findings {
		fmt.Fprintf(w, "\n%s  %s\n", f.Rule, f.Message)
		if f.Variable != "" {
			fmt.Fprintf(w, "  in       %s\n", f.Variable)
		}
		if f.Excerpt != "" {
			fmt.Fprintf(w, "  found    %s\n", f.Excerpt)
		}
		if f.Severity != "" {
			fmt.Fprintf(w, "  severity %s, paranoia %d\n", f.Severity, f.Paranoia)
		}
		if f.Exclude != "" {
			fmt.Fprintf(w, "  silence  %s\n", f.Exclude)
		}
	}
}

// maxLogLine is the longest line of a log that is read: 1 MiB.
const maxLogLine = 1 << 20

// wafTuneCommand is "caddy edge waf tune".
func wafTuneCommand() *cobra.Command {
	var (
		most   int
		least  int
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "tune LOG",
		Short: "Proposes exceptions from the log of a time in shadow mode, the most frequent first",
		Long: `Reads the events of edge_waf from a log of Caddy in JSON (- is the standard input) and
prints exceptions that would have silenced them, as lines for edge_waf and its block crs.
Look at each: what real attackers sent is in the log too, and has few clients.`,
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			var t audit.Tuner
			lines, err := readEvents(in, t.Add)
			if err != nil {
				return err
			}
			if t.Events() == 0 {
				return fmt.Errorf("%s: none of its %d lines is an event of edge_waf in JSON: they are in Caddy's default log, at the level INFO, and not in access logs", args[0], lines)
			}
			out := cmd.OutOrStdout()
			list := t.Propose()
			if asJSON {
				return json.NewEncoder(out).Encode(list)
			}
			fmt.Fprintf(out, "# %d events in %d lines\n", t.Events(), lines)
			if i := slices.IndexFunc(list, func(p audit.Proposal) bool { return p.Findings < least }); i >= 0 {
				list = list[:i]
			}
			if most >= 0 && len(list) > most {
				list = list[:most]
			}
			printProposals(out, "\n# For the block crs of edge_waf:\n", list, audit.InCRS)
			printProposals(out, "\n# For edge_waf itself, outside of the block crs:\n", list, func(line string) bool { return !audit.InCRS(line) })
			return nil
		},
	}
	cmd.Flags().IntVarP(&most, "max", "n", 20, "how many exceptions to print")
	cmd.Flags().IntVar(&least, "min", 1, "least number of findings of one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, all of them")
	return cmd
}

// printProposals prints those that fit, below a headline.
func printProposals(w io.Writer, headline string, list []audit.Proposal, fits func(line string) bool) {
	for _, p := range list {
		if fits(p.Line) {
			fmt.Fprintf(w, "%s\n# %d times, from %d clients: %s\n# such as %s\n%s\n", headline, p.Findings, p.Clients, audit.Clean(p.Message, audit.MaxName),
				audit.Clean(p.Example, audit.MaxName), p.Line)
			headline = ""
		}
	}
}

// readEvents calls found for each event in a log.
func readEvents(in io.Reader, found func(*audit.Event)) (lines int, err error) {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 64<<10), maxLogLine)
	for scanner.Scan() {
		lines++
		var line struct {
			Event *audit.Event `json:"waf"`
		}
		if json.Unmarshal(scanner.Bytes(), &line) == nil && line.Event != nil && line.Event.Rule != "" {
			found(line.Event)
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return lines, fmt.Errorf("line %d: longer than %d bytes", lines+1, maxLogLine)
	}
	return lines, scanner.Err()
}

// wafEventsCommand is "caddy edge waf events".
func wafEventsCommand() *cobra.Command {
	var firewall, rule, action, client, id string
	var n int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Lists the latest decisions about requests that came, the newest first",
		Long: `Lists the latest decisions of the running firewall (GET /edge/waf/events of the admin API):
what was done and why, and below it each rule that found something, where, and what. Values of
what sounds like a secret are not told.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"firewall": {firewall}, "rule": {rule}, "action": {action}, "client": {client}, "request_id": {id}, "n": {fmt.Sprint(n)}}
			var reply struct {
				Events []audit.Event `json:"events"`
			}
			if err := cli.Call(cmd, http.MethodGet, "/edge/waf/events?"+query.Encode(), nil, &reply); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(reply.Events)
			}
			for i := range reply.Events {
				printEvent(cmd.OutOrStdout(), &reply.Events[i])
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&firewall, "firewall", "", "name of the firewall, if not default")
	flags.StringVar(&rule, "rule", "", "only those in which this rule found something")
	flags.StringVar(&action, "action", "", "only block, shadow, log, limit or allow")
	flags.StringVar(&client, "client", "", "only those of this address")
	flags.StringVar(&id, "request-id", "", "only that of this request")
	flags.IntVarP(&n, "max", "n", 20, "how many")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	cli.AddAddressFlags(cmd)
	return cmd
}

// printEvent prints a line for an event, and one for each finding.
func printEvent(w io.Writer, e *audit.Event) {
	fmt.Fprintf(w, "%s %-6s %-8s rule %s, score %d, %s %s%s, client %s, request %s\n",
		e.Time.Format(time.RFC3339), e.Action, e.Phase, e.Rule, e.Score, e.Method, e.Host, e.Path, e.Client, e.RequestID)
	for _, f := range e.Findings {
		fmt.Fprintf(w, "  %s", f.Rule)
		if f.Variable != "" {
			fmt.Fprintf(w, " in %s", f.Variable)
		}
		if f.Message != "" {
			fmt.Fprintf(w, ": %s", audit.Clean(f.Message, audit.MaxName))
		}
		if f.Excerpt != "" {
			fmt.Fprintf(w, ": %s", f.Excerpt)
		}
		fmt.Fprintln(w)
	}
	if e.Omitted > 0 {
		fmt.Fprintf(w, "  and %d more\n", e.Omitted)
	}
}

// wafModeCommand is "caddy edge waf mode".
func wafModeCommand() *cobra.Command {
	var firewall string
	cmd := &cobra.Command{
		Use:          "mode enforce|shadow|off|config",
		Short:        "Changes the mode of a running firewall, until the configuration has another one",
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			mode := args[0]
			if mode == "config" {
				mode = ""
			}
			var reply struct{ Firewall, Mode string }
			if err := cli.Call(cmd, http.MethodPost, "/edge/waf/mode", map[string]string{"firewall": firewall, "mode": mode}, &reply); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is in mode %s\n", reply.Firewall, reply.Mode)
			return nil
		},
	}
	cmd.Flags().StringVar(&firewall, "firewall", "", "name of the firewall, if not default")
	cli.AddAddressFlags(cmd)
	return cmd
}
