package target

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidHost(t *testing.T) {
	for s, name := range map[string]string{
		"example.com": "example.com", "EXAMPLE.com.": "example.com", "example.com:443": "example.com", "localhost": "localhost",
		"a_b.example": "a_b.example", "xn--bcher-kva.example:1": "xn--bcher-kva.example", "192.0.2.1": "192.0.2.1",
		"192.0.2.1:65535": "192.0.2.1", "[2001:db8::1]": "[2001:db8::1]", "[::1]:80": "[::1]", "1and1.example": "1and1.example",
		strings.Repeat("a", 63) + ".example": strings.Repeat("a", 63) + ".example",
	} {
		require.True(t, ValidHost(s), s)
		require.Equal(t, name, HostName(s))
	}
	for _, s := range []string{
		"", ".", "..", "a..b", ".example.com", "example.com:", "example.com:0", "example.com:65536", "example.com:+80", "example.com:080000",
		"example.com:80:80", "example.com/", "user@example.com", "exa mple.com", "example.com\x00", "bücher.example", "%65xample.com",
		"-a.example", "a-.example", "[::1", "[::1]x", "[::1]:", "[192.0.2.1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "::1", "192.0.2.256", "192.0.2",
		"1.2.3.4.5", "0x7f000001", "a.0x1", "2130706433", "010.0.0.1", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "aa", "a,b", "*", "a~b",
	} {
		require.False(t, ValidHost(s), s)
	}
}

// FuzzValidHost wants net/url to read a valid host as it is meant.
func FuzzValidHost(f *testing.F) {
	for _, s := range []string{"example.com:80", "[::1]:80", "192.0.2.1", "a.0x1", "[", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !ValidHost(s) {
			HostName(s)
			return
		}
		u, err := url.Parse("http://" + s + "/")
		require.NoError(t, err)
		require.Equal(t, s, u.Host)
		require.Nil(t, u.User)
		require.Equal(t, strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), strings.Trim(HostName(s), "[]"))
	})
}
