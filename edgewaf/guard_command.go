package edgewaf

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddyedge/caddy-edge/internal/cli"
)

func init() {
	cli.Register(guardCommand)
}

// guardCommand is "caddy edge guard".
func guardCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Shows and changes what the guard of a running edge does",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(checksCommand(), lookupCommand(), modeCommand())
	return cmd
}

// checksCommand is "caddy edge guard checks".
func checksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:          "checks",
		Short:        "Lists the checks with their modes and counters",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var reply struct {
				Guards []guardReply `json:"guards"`
			}
			if err := cli.Call(cmd, http.MethodGet, "/edge/guard/checks", nil, &reply); err != nil {
				return err
			}
			for _, g := range reply.Guards {
				for _, c := range g.Checks {
					fmt.Fprintf(cmd.OutOrStdout(), "%s\t%-20s %-7s %d found\n", g.Name, c.ID, c.Mode, c.Refused+c.Shadow+c.Repaired+c.Closed)
				}
			}
			return nil
		},
	}
	cli.AddAddressFlags(cmd)
	return cmd
}

// lookupCommand is "caddy edge guard lookup".
func lookupCommand() *cobra.Command {
	var guard string
	cmd := &cobra.Command{
		Use:          "lookup ADDRESS",
		Short:        "Tells whether a client is allowed, and by which list",
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			var d lookupReply
			query := url.Values{"address": {args[0]}, "guard": {guard}}
			if err := cli.Call(cmd, http.MethodGet, "/edge/guard/lookup?"+query.Encode(), nil, &d); err != nil {
				return err
			}
			verdict := "denied"
			if d.Allowed {
				verdict = "allowed"
			}
			words := []string{d.Address, verdict + ":", d.By}
			for _, word := range []string{d.List, d.File, d.Entry} {
				if word != "" {
					words = append(words, word)
				}
			}
			fmt.Fprintln(cmd.OutOrStdout(), strings.Join(words, " "))
			return nil
		},
	}
	cmd.Flags().StringVar(&guard, "guard", "", "name of the guard, if not default")
	cli.AddAddressFlags(cmd)
	return cmd
}

// modeCommand is "caddy edge guard mode".
func modeCommand() *cobra.Command {
	var guard string
	cmd := &cobra.Command{
		Use:   "mode CHECK enforce|shadow|off|config",
		Short: "Changes the mode of a check until the configuration has another one",
		Example: `  caddy edge guard mode path_double_encoding shadow
  caddy edge guard mode path_double_encoding config`,
		Args:         cobra.ExactArgs(2),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			mode := args[1]
			if mode == "config" {
				mode = ""
			}
			var reply struct{ Guard, Check, Mode string }
			in := map[string]string{"guard": guard, "check": args[0], "mode": mode}
			if err := cli.Call(cmd, http.MethodPost, "/edge/guard/mode", in, &reply); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s is in mode %s\n", reply.Guard, reply.Check, reply.Mode)
			return nil
		},
	}
	cmd.Flags().StringVar(&guard, "guard", "", "name of the guard, if not default")
	cli.AddAddressFlags(cmd)
	return cmd
}
