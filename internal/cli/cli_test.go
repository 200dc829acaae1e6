package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestSubcommandsAreOrderedAndFresh(t *testing.T) {
	saved := constructors
	t.Cleanup(func() { constructors = saved })
	constructors = nil
	for _, name := range []string{"top", "purge"} {
		Register(func() *cobra.Command { return &cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}} })
	}

	first, second := &cobra.Command{Use: "edge"}, &cobra.Command{Use: "edge"}
	build(first)
	build(second)
	require.Equal(t, "purge", first.Commands()[0].Name())
	require.Equal(t, "top", first.Commands()[1].Name())
	require.NotSame(t, first.Commands()[0], second.Commands()[0])

	first.SetOut(io.Discard)
	first.SetErr(io.Discard)
	first.SetArgs(nil)
	require.NoError(t, first.Execute())
	first.SetArgs([]string{"unknown"})
	require.ErrorContains(t, first.Execute(), "unknown")
}

// command returns a parsed command with the address flags.
func command(t *testing.T, args ...string) *cobra.Command {
	t.Helper()
	cmd := new(cobra.Command)
	AddAddressFlags(cmd)
	require.NoError(t, cmd.ParseFlags(args))
	return cmd
}

func TestCall(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/edge/test" {
			http.Error(w, `{"error":"no such thing"}`, http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`{"request":"` + r.Method + " " + r.Header.Get("Content-Type") + ` ` + string(rune('0'+len(body))) + `"}`))
	}))
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	config := filepath.Join(t.TempDir(), "caddy.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"admin":{"listen":"`+address+`"}}`), 0o600))

	for _, cmd := range []*cobra.Command{command(t, "--address", address), command(t, "--config", config)} {
		var out struct{ Request string }
		require.NoError(t, Call(cmd, "POST", "/edge/test", []int{1}, &out))
		require.Equal(t, "POST application/json 3", out.Request)
		require.NoError(t, Call(cmd, "GET", "/edge/test", nil, &out))
		require.Equal(t, "GET  0", out.Request)
		require.NoError(t, Call(cmd, "GET", "/edge/test", nil, nil))
		err := Call(cmd, "GET", "/edge/other", nil, &out)
		require.ErrorContains(t, err, "calling GET /edge/other at "+address)
		require.ErrorContains(t, err, "404")
		require.ErrorContains(t, err, "no such thing")
		require.ErrorContains(t, Call(cmd, "GET", "/edge/test", nil, new(int)), "reading the reply")
		require.ErrorContains(t, Call(cmd, "GET", "/edge/test", func() {}, nil), "encoding request")
	}
}

func TestCallWithoutFlags(t *testing.T) {
	require.ErrorContains(t, Call(new(cobra.Command), "GET", "/edge/test", nil, nil), "finding the admin endpoint")
	missing := filepath.Join(t.TempDir(), "missing.json")
	require.ErrorContains(t, Call(command(t, "--config", missing), "GET", "/", nil, nil), "finding the admin endpoint")
}
