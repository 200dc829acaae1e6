package edgetunnel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/agent"
	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/cli"
)

func init() {
	cli.Register(agentCommand)
	cli.Register(tunnelCommand)
}

// agentOptions are the flags of "caddy edge agent".
type agentOptions struct {
	AgentApp
	backends, to []string
	backend      AgentBackend // what holds for all of them
	drain, dial  time.Duration
	interval     time.Duration
	timeout      time.Duration
}

// agentCommand is "caddy edge agent".
func agentCommand() *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent --edge URL --backend NAME --to ADDRESS",
		Short: "Connects backends to an edge, which then serves them",
		Long: `Connects to one or more edges and passes their requests on to backends, which need
neither a public address nor a certificate. The token comes from --token-file, or
from the environment as EDGE_TOKEN. It ends when the requests under way are done
after SIGTERM or SIGINT, or at once after a second one.

--backend and --to may be given several times, in pairs; the other flags of
backends then hold for all of them. For more the global option edge_agent of a
Caddyfile has the same.`,
		Example: `  caddy edge agent --edge https://edge.example.com --backend app --to localhost:8080 --token-file token
  caddy edge agent --edge https://a.example.com --edge https://b.example.com \
    --backend app --to localhost:8080 --backend api --to h2c://localhost:50051 --token-file token`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return o.run() },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Edges, "edge", nil, "URL of an edge")
	f.StringArrayVar(&o.backends, "backend", nil, "name of a backend")
	f.StringArrayVar(&o.to, "to", nil, "its address: HOST:PORT, http://, https://, h2c:// or unix//PATH, with a path that is put in front")
	f.StringVar(&o.Name, "name", "", "name of the agent (default: the name of the machine and of the first backend)")
	f.StringVar(&o.TokenFile, "token-file", "", "file that has the token")
	f.StringArrayVar(&o.CA, "ca", nil, "file of certificates that the edge's must be signed by")
	f.StringVar(&o.Certificate, "cert", "", "file of the agent's own certificate")
	f.StringVar(&o.Key, "key", "", "file of its key")
	f.IntVar(&o.DataConns, "data-conns", 0, "connections beside the first, of which each carries one request at a time")
	f.DurationVar(&o.drain, "drain", defaultDrain, "how long requests under way may take at the end")
	f.IntVar(&o.backend.Weight, "weight", 1, "share of the requests in relation to other agents")
	f.StringVar(&o.backend.Host, "host", "", "Host of the requests to the backend")
	f.StringVar(&o.backend.StripPrefix, "strip-prefix", "", "what is taken off the front of paths")
	f.StringArrayVar(&o.backend.Paths, "path", nil, "beginning of paths that are passed on, others get 404")
	f.BoolVar(&o.backend.StripCredentials, "strip-credentials", false, "take Authorization, Cookie and Proxy-Authorization out of requests")
	f.BoolVar(&o.backend.InsecureSkipVerify, "insecure-skip-verify", false, "accept any certificate of a backend with https")
	f.DurationVar(&o.dial, "dial-timeout", agent.DefaultDialTimeout, "how long connecting to a backend may take")
	f.IntVar(&o.backend.MaxRequests, "max-requests", agent.DefaultMaxRequests, "requests of a backend at a time")
	f.StringVar(&o.backend.HealthURI, "health-uri", "", "path that is asked for regularly")
	f.DurationVar(&o.interval, "health-interval", agent.DefaultHealthInterval, "how often")
	f.DurationVar(&o.timeout, "health-timeout", agent.DefaultHealthTimeout, "how long the answer may take")
	f.IntVar(&o.backend.HealthFails, "health-fails", agent.DefaultHealthFails, "failures after which a backend gets no requests")
	return cmd
}

// prepare brings the flags into the form of the app.
func (o *agentOptions) prepare() error {
	if len(o.Edges) == 0 {
		return errors.New("the edge is missing: name its URL with --edge")
	}
	if len(o.backends) == 0 || len(o.backends) != len(o.to) {
		return fmt.Errorf("there must be a --to for each --backend: got %d of --backend and %d of --to", len(o.backends), len(o.to))
	}
	if o.TokenFile == "" {
		if o.Token = os.Getenv("EDGE_TOKEN"); o.Token == "" {
			return errors.New("the token is missing: name its file with --token-file, or set EDGE_TOKEN")
		}
		o.Token = strings.NewReplacer("{", `\{`, "}", `\}`).Replace(o.Token)
	}
	if o.Name == "" {
		o.Name = machineName() + "-" + o.backends[0]
		o.Name = o.Name[:min(len(o.Name), 63)]
	}
	o.Drain = caddy.Duration(o.drain)
	for i, name := range o.backends {
		b := o.backend
		b.Name, b.To = name, o.to[i]
		b.DialTimeout, b.HealthInterval, b.HealthTimeout = caddy.Duration(o.dial), caddy.Duration(o.interval), caddy.Duration(o.timeout)
		o.Backends = append(o.Backends, b)
	}
	return o.provision()
}

// run is an agent until a signal comes.
func (o *agentOptions) run() error {
	if err := o.prepare(); err != nil {
		return err
	}
	backends := &agent.Backends{Log: func() *zap.Logger { return o.config.Log }}
	for _, b := range o.Backends {
		stop, err := backends.Forward(b.Name, b.forward())
		if err != nil {
			return fmt.Errorf("backend %s: %w", b.Name, err)
		}
		defer stop()
	}
	signal.Ignore(syscall.SIGHUP) // as caddy run does; the token is read again by itself
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := agent.Start(o.config, backends)
	o.config.Log.Info("the agent runs", zap.String("agent", o.Name), zap.Strings("edges", o.Edges), zap.Strings("backends", o.backends))
	<-ctx.Done()
	stop() // a second signal ends the process
	o.config.Log.Info("finishing the requests under way", zap.Duration("timeout", o.drain))
	if !a.Drain(o.drain) {
		return errors.New("there were requests under way when the time was over")
	}
	return nil
}

// tunnelCommand is "caddy edge tunnel".
func tunnelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tunnel",
		Short: "Shows and operates the agents of a running edge",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tokenCommand(), agentsCommand(), drainCommand(),
		nameCommand("resume AGENT", "Lets an agent come back that was drained", "/edge/tunnel/resume", "agent", "may come back, which it does within 20 seconds"),
		nameCommand("revoke TOKEN", "Closes the sessions of a token at once, and lets no more in", "/edge/tunnel/revoke", "token", "revoked"),
		nameCommand("allow TOKEN", "Takes a revocation back", "/edge/tunnel/allow", "token", "allowed"))
	return cmd
}

// tokenCommand is "caddy edge tunnel token".
func tokenCommand() *cobra.Command {
	var backends []string
	cmd := &cobra.Command{
		Use:   "token ID",
		Short: "Makes a token: a secret for the agent, and the line for the edge",
		Long: `Makes a new secret. The token is written to standard output, for the agent; the line
of the Caddyfile, which has only a hash of it, to standard error.`,
		Example:      `  caddy edge tunnel token home --backend app > token`,
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range append([]string{args[0]}, backends...) {
				if err := wire.CheckName(name); err != nil && name != hub.AnyBackend {
					return err
				}
			}
			secret, hash := wire.NewSecret()
			fmt.Fprintf(cmd.ErrOrStderr(), "edge_tunnel {\n\ttoken %s %s %s\n}\n", args[0], hash, strings.Join(backends, " "))
			fmt.Fprintf(cmd.OutOrStdout(), "%s.%s\n", args[0], secret)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&backends, "backend", []string{"app"}, "name of a backend that the agent may serve")
	return cmd
}

// agentsCommand is "caddy edge tunnel agents".
func agentsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:          "agents",
		Short:        "Lists the agents and their backends",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var reply agentsReply
			if err := cli.Call(cmd, http.MethodGet, "/edge/tunnel/agents", nil, &reply); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "AGENT\tBACKEND\tSTATE\tWEIGHT\tSTREAMS\tREQUESTS\tRTT\tSINCE\tTOKEN\tREMOTE")
			for _, a := range reply.Agents {
				for _, b := range a.Backends {
					fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%.1fms\t%s\t%s\t%s\n", a.Agent, b.Backend, stateOf(a, b), b.Weight, b.Streams, b.Requests,
						a.RTT, a.Since.Local().Format(time.DateTime), a.Token, a.Remote)
				}
				if len(a.Backends) == 0 {
					fmt.Fprintf(w, "%s\t-\tno backend\t\t\t\t%.1fms\t%s\t%s\t%s\n", a.Agent, a.RTT, a.Since.Local().Format(time.DateTime), a.Token, a.Remote)
				}
			}
			if err := w.Flush(); err != nil {
				return err
			}
			for _, name := range reply.Held {
				fmt.Fprintf(out, "drained, kept away: %s\n", name)
			}
			for _, id := range reply.Revoked {
				fmt.Fprintf(out, "revoked: %s\n", id)
			}
			return nil
		},
	}
	cli.AddAddressFlags(cmd)
	return cmd
}

func stateOf(a agentReply, b backendReply) string {
	switch {
	case a.Draining:
		return "draining"
	case !b.Healthy:
		return "unhealthy"
	case b.Serving:
		return "serving"
	}
	return "leaving"
}

// drainCommand is "caddy edge tunnel drain".
func drainCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:          "drain AGENT",
		Short:        "Lets an agent finish its requests, and keeps it away until resume",
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := nameRequest{Agent: args[0], Timeout: timeout.String()}
			var reply changedReply
			if err := cli.Call(cmd, http.MethodPost, "/edge/tunnel/drain", &q, &reply); err != nil {
				return err
			}
			what := "gets no more requests"
			if !reply.Changed {
				what = "is kept away already"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", args[0], what)
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", defaultDrain, "how long requests under way may take")
	cli.AddAddressFlags(cmd)
	return cmd
}

// nameCommand is a command about one agent or token.
func nameCommand(use, short, path, field, done string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := nameRequest{Agent: args[0]}
			if field == "token" {
				q = nameRequest{Token: args[0]}
			}
			var reply changedReply
			if err := cli.Call(cmd, http.MethodPost, path, &q, &reply); err != nil {
				return err
			}
			what := done
			if !reply.Changed {
				what = "nothing to change"
			}
			if reply.Closed > 0 {
				what += fmt.Sprintf(", sessions closed: %d", reply.Closed)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", args[0], what)
			return nil
		},
	}
	cli.AddAddressFlags(cmd)
	return cmd
}
