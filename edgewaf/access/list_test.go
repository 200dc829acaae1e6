package access

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseList(t *testing.T) {
	s, err := ParseList([]byte("\xef\xbb\xbf# bad networks\n\n192.0.2.0/24 ; SBL1\r\n  2001:db8::1\t# one\n198.51.100.7/24\n203.0.113.9"))
	require.NoError(t, err)
	require.Equal(t, 4, s.Len())
	for _, in := range []string{"192.0.2.1", "2001:db8::1", "198.51.100.255", "203.0.113.9"} {
		require.True(t, s.Contains(netip.MustParseAddr(in)), in)
	}
	empty, err := ParseList([]byte("# nobody\n"))
	require.NoError(t, err)
	require.Zero(t, empty.Len())
}

func TestParseListRefuses(t *testing.T) {
	for _, test := range []struct{ text, err string }{
		{"", "line 1: is empty"},
		{"\n \n", "line 1: is empty"},
		{"192.0.2.1\n\n192.0.2\n", `line 3: invalid address or CIDR "192.0.2"`},
		{"192.0.2.0/33", `line 1: invalid address or CIDR "192.0.2.0/33"`},
		{"192.0.2.1 192.0.2.2", "line 1: invalid address or CIDR"},
		{"::ffff:192.0.2.1", "line 1: invalid address or CIDR \"::ffff:192.0.2.1\": write IPv4 addresses as such"},
		{"fe80::1%eth0", "line 1: invalid address or CIDR"},
		{"# ok\n<html>" + strings.Repeat("x", 500), "line 2: invalid address or CIDR \"<html>xxx"},
	} {
		_, err := ParseList([]byte(test.text))
		require.ErrorContains(t, err, test.err)
		require.Less(t, len(err.Error()), 200)
	}
}

// FuzzParseList wants each line that was taken to be found in the set.
func FuzzParseList(f *testing.F) {
	f.Add("192.0.2.0/24 # x\n2001:db8::/32\n")
	f.Add("\xef\xbb\xbf;\n0.0.0.0/0")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseList([]byte(text))
		if err != nil {
			require.Nil(t, s)
			require.Contains(t, err.Error(), "line ")
			return
		}
		n := 0
		for line := range strings.Lines(strings.TrimPrefix(text, "\xef\xbb\xbf")) {
			if i := strings.IndexAny(line, "#;"); i >= 0 {
				line = line[:i]
			}
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			n++
			p, err := ParsePrefix(line)
			require.NoError(t, err)
			require.True(t, s.Contains(p.Addr()))
			require.True(t, s.Contains(lastOf(p)))
		}
		require.Equal(t, n, s.Len())
	})
}

func TestParseASNAndCountry(t *testing.T) {
	for s, want := range map[string]uint32{"64500": 64500, "AS64500": 64500, "as1": 1, "4294967295": 4294967295, "0": 0, "AS": 0, "ASX": 0, "-1": 0, "4294967296": 0, "": 0} {
		n, err := ParseASN(s)
		require.Equal(t, want == 0, err != nil, s)
		require.Equal(t, want, n, s)
	}
	for s, want := range map[string]string{"de": "DE", "FR": "FR", "": "", "DEU": "", "1A": "", "ß": ""} {
		code, err := ParseCountry(s)
		require.Equal(t, want == "", err != nil, s)
		require.Equal(t, want, code, s)
	}
}
