package edgecache

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

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
stored. URLs are absolute, with their scheme, and take all variants with them.
With --soft the responses stay as stale ones and are validated before their next
use.`,
		Example: `  caddy edge purge https://example.com/news
  caddy edge purge --tag product-17 --tag product-18
  caddy edge purge --prefix example.com/blog --soft
  caddy edge purge --all`,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.URLs = args
			for _, u := range q.URLs {
				if scheme, _, ok := strings.Cut(strings.ToLower(u), "://"); !ok || scheme != "http" && scheme != "https" {
					return fmt.Errorf("%q is no URL: want one such as https://example.com/news (for the rest there are --tag, --host, --prefix and --wildcard)", u)
				}
			}
			for i, key := range q.Keys {
				var err error
				if q.Keys[i], err = decodeKey(key); err != nil {
					return fmt.Errorf("--key %q: want a key as /edge/cache/keys shows it, such as '\\u0000https\\u0000example.com\\u0000/news': %w", key, err)
				}
			}
			if _, err := q.purges(); err != nil {
				return err
			}
			var reply purgeReply
			if err := cli.Call(cmd, http.MethodPost, "/edge/cache/purge", &q, &reply); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), reply)
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

// decodeKey reads a key as JSON writes it, with its quotes or without: keys hold NULs,
// which no argument can carry.
func decodeKey(s string) (key string, err error) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		s = `"` + s + `"`
	}
	err = json.Unmarshal([]byte(s), &key)
	return key, err
}
