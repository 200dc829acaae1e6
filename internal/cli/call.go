package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// AddAddressFlags gives cmd the flags that tell where Caddy's admin endpoint
// is: --address, or the --config (and its --adapter) that Caddy runs with. The
// default is Caddy's default endpoint.
func AddAddressFlags(cmd *cobra.Command) {
	cmd.Flags().String("address", "", "address of the admin endpoint, if not the default")
	cmd.Flags().StringP("config", "c", "", "configuration file to take the admin address from")
	cmd.Flags().StringP("adapter", "a", "", "name of the config adapter to apply to the configuration file")
}

// Call sends one request to the admin endpoint that cmd's flags name. in is
// sent as JSON unless it is nil; the reply is decoded into out unless that is
// nil. A reply with status 400 or above is an error that holds its body.
//
// cmd must have the flags of AddAddressFlags.
func Call(cmd *cobra.Command, method, path string, in, out any) error {
	address, err := address(cmd)
	if err != nil {
		return fmt.Errorf("finding the admin endpoint: %w", err)
	}
	// A typed nil in the interface would be taken for a body.
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, path, nil, body)
	if err != nil {
		return fmt.Errorf("calling %s %s at %s: %w", method, path, address, err)
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("reading the reply of %s %s: %w", method, path, err)
	}
	return nil
}

func address(cmd *cobra.Command) (string, error) {
	var values [3]string
	for i, name := range [...]string{"address", "config", "adapter"} {
		value, err := cmd.Flags().GetString(name)
		if err != nil {
			return "", err
		}
		values[i] = value
	}
	return caddycmd.DetermineAdminAPIAddress(values[0], nil, values[1], values[2])
}
