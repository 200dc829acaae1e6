package placeholder

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	for _, name := range []string{
		"http.request.host", "http.request.uri.path", "http.request.uri.path.0", "http.request.uri.path.file.ext", "http.request.header.X-A",
		"http.vars.client_ip", "http.auth.user.id", "env.RELEASE",
	} {
		require.NoError(t, Check(name, "env."), name)
	}
	for _, name := range []string{
		"", "nope", "http.vars.", "http.request.header.", "http.request.headers.X-A", "http.request.uri.path.fil", "http.request.body", "env.", "system.hostname",
	} {
		require.ErrorContains(t, Check(name, "env."), "unknown placeholder {"+name+"}: want one of the request", name)
	}
}
