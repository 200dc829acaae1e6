package edgecache

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPurgeCommand: what the command sends, what it says, and what it refuses to
// send.
func TestPurgeCommand(t *testing.T) {
	for _, tt := range []struct {
		args        []string
		want        PurgeRequest
		reply, says string
	}{
		{[]string{"https://h/a", "http://h/b", "--soft"}, PurgeRequest{URLs: []string{"https://h/a", "http://h/b"}, Soft: true},
			`{"deleted": true, "deleted_count": 2}`, "purged 2 stored responses"},
		{[]string{"--key", `\u0000http\u0000h:80\u0000/a?\"b\"&c=\\`}, PurgeRequest{Keys: []string{"\x00http\x00h:80\x00/a?\"b\"&c=\\"}},
			`{"deleted": true, "deleted_count": 1}`, "purged 1 stored response"},
		{[]string{"--key", `"shop\u0000https\u0000h\u0000/a\u0000\u0005Accept-Language=de"`},
			PurgeRequest{Keys: []string{"shop\x00https\x00h\x00/a\x00\x05Accept-Language=de"}},
			`{"deleted": false, "deleted_count": 0}`, "purged 0 stored responses"},
		{[]string{"--key", `\u0000http\u0000h\u0000/\ud83d\ude00`}, PurgeRequest{Keys: []string{"\x00http\x00h\x00/\U0001f600"}},
			`{"deleted": true, "deleted_count": 1}`, "purged 1 stored response"},
		{[]string{"--all"}, PurgeRequest{All: true}, `{"deleted": true}`, "purged"},
	} {
		var got PurgeRequest
		admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if json.NewDecoder(r.Body).Decode(&got) != nil {
				w.WriteHeader(http.StatusBadRequest)
			}
			_, _ = w.Write([]byte(tt.reply))
		}))
		out, err := runPurge(append(tt.args, "--address", admin.Listener.Addr().String()))
		admin.Close()
		require.NoError(t, err, tt.args)
		require.Equal(t, tt.want, got, tt.args)
		require.Equal(t, tt.says+"\n", out, tt.args)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "nothing to purge"},
		{[]string{"foo"}, `"foo" is no URL: want one such as https://example.com/news`},
		{[]string{"https://h/", "example.com/news"}, `"example.com/news" is no URL`},
		{[]string{"--key", `a\`}, `--key "a\\": want a key as /edge/cache/keys shows it`},
		{[]string{"--key", `a\x00`}, `want a key as /edge/cache/keys shows it`},
		{[]string{"--all", "--tag", "red"}, `all: not with others, got tag "red" too`},
		{[]string{"--all", "https://h/"}, `all: not with others, got url "https://h/" too`},
	} {
		_, err := runPurge(append(tt.args, "--address", "127.0.0.1:1"))
		require.ErrorContains(t, err, tt.want, tt.args)
	}
}

// runPurge runs the command and returns what it prints.
func runPurge(args []string) (string, error) {
	var out bytes.Buffer
	cmd := purgeCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}
