package edgecache

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/caddyedge/caddy-edge/internal/cli"
)

func init() {
	cli.Register(purgeCommand)
}

// purgeCommand is "caddy edge purge".
func purgeCommand() *cobra.Command {
	var q PurgeRequest
	cmd := &cobra.Command{
		Use:   "purge [URL...]",
		Short: "Removes responses from the edge cache",
		Long: `Removes responses from the cache of a running edge, at once and however much is
stored. URLs are absolute and take all variants with them. With --soft the
responses stay as stale ones and are validated before their next use.`,
		Example: `  caddy edge purge https://example.com/news
  caddy edge purge --tag product-17 --tag product-18
  caddy edge purge --prefix example.com/blog --soft
  caddy edge purge --all`,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.URLs = args
			for i, key := range q.Keys {
				// Keys hold NULs, which no argument can carry.
				unquoted, err := strconv.Unquote(`"` + key + `"`)
				if err != nil {
					return fmt.Errorf("--key %q: want a key as /edge/cache/keys shows it: %w", key, err)
				}
				q.Keys[i] = unquoted
			}
			if _, err := q.purges(); err != nil {
				return err
			}
			var reply purgeReply
			if err := cli.Call(cmd, http.MethodPost, "/edge/cache/purge", &q, &reply); err != nil {
				return err
			}
			if reply.Count == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "purged")
			} else {
				fmt.Fprintf(cmd.OutOrStdout(), "purged %d stored responses\n", *reply.Count)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&q.Keys, "key", nil, "purge the entry with this cache key, as /edge/cache/keys shows it")
	f.StringArrayVar(&q.Tags, "tag", nil, "purge what carries this tag")
	f.StringArrayVar(&q.Hosts, "host", nil, "purge a whole host")
	f.StringArrayVar(&q.Prefixes, "prefix", nil, "purge host/path and everything below it")
	f.StringArrayVar(&q.Wildcards, "wildcard", nil, "purge what matches a pattern with *")
	f.BoolVar(&q.All, "all", false, "purge everything")
	f.BoolVar(&q.Soft, "soft", false, "mark stale instead of removing")
	cli.AddAddressFlags(cmd)
	return cmd
}
