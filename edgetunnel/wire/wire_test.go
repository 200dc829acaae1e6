package wire

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/coreos/go-semver/semver"
	"github.com/stretchr/testify/require"
)

func TestNegotiate(t *testing.T) {
	ours := semver.Version{Major: 1, Minor: 4}
	for theirs, want := range map[string]string{"1.4.0": "1.4.0", "1.2.9": "1.2.9", " 1.7.0 ": "1.4.0", "1.4.1": "1.4.0"} {
		got, err := Negotiate(ours, theirs)
		require.NoError(t, err)
		require.Equal(t, want, got.String(), theirs)
	}
	for theirs, want := range map[string]string{"2.0.0": "not supported", "0.9.0": "not supported", "": "invalid version", "1": "invalid version", "v1.4.0": "invalid version"} {
		_, err := Negotiate(ours, theirs)
		require.ErrorContains(t, err, want, theirs)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "app-1", "0_x", strings.Repeat("a", 63)} {
		require.NoError(t, CheckName(name), name)
	}
	for _, name := range []string{"", "-a", "_a", "App", "a.b", "a b", "a/b", "ä", strings.Repeat("a", 64), "a\n"} {
		require.Error(t, CheckName(name), name)
	}
	names, err := ParseBackends(" app, api ")
	require.NoError(t, err)
	require.Equal(t, []string{"app", "api"}, names)
	for value, want := range map[string]string{"app,app": "named twice", "app,": "missing", "a b": "invalid name", strings.Repeat("a,", 300): "must be 256 at most"} {
		_, err := ParseBackends(value)
		require.ErrorContains(t, err, want)
	}
}

func TestPreface(t *testing.T) {
	for _, p := range []Preface{
		{Backend: "app"},
		{Backend: strings.Repeat("a", 63), Client: netip.MustParseAddrPort("192.0.2.1:443")},
		{Backend: "app", Client: netip.MustParseAddrPort("[2001:db8::1]:0")},
	} {
		r := bytes.NewReader(append(p.Append(nil), "GET"...))
		got, err := ReadPreface(r)
		require.NoError(t, err)
		require.Equal(t, p, got)
		rest, _ := io.ReadAll(r)
		require.Equal(t, "GET", string(rest))
	}
}

func FuzzPreface(f *testing.F) {
	f.Add(Preface{Backend: "app", Client: netip.MustParseAddrPort("192.0.2.1:443")}.Append(nil))
	f.Add([]byte{0, 0})
	f.Add([]byte{255, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ReadPreface(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := ReadPreface(bytes.NewReader(p.Append(nil)))
		if err != nil || again != p {
			t.Errorf("%v became %v: %v", p, again, err)
		}
	})
}

func TestMessage(t *testing.T) {
	for _, m := range []Message{
		{},
		{Backends: []BackendState{}},
		{Backends: []BackendState{{Name: "app", Weight: 3, Unhealthy: true, Load: 7}}, Drain: true, Away: 5},
	} {
		got, err := ParseMessage(m.Encode())
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	// A later minor version may say more.
	m, err := ParseMessage([]byte(`{"drain":true,"later":{"x":1}}`))
	require.NoError(t, err)
	require.Equal(t, Message{Drain: true}, m)
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"backends":[{"name":"app","weight":1,"load":2}],"drain":true,"away_ms":3}`))
	f.Add([]byte(`{"backends":[{"name":"App","weight":0}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		for _, b := range m.Backends {
			if CheckName(b.Name) != nil || b.Weight < 1 || b.Weight > MostWeight || b.Load < 0 {
				t.Errorf("invalid backend %v", b)
			}
		}
	})
}

func TestToken(t *testing.T) {
	secret, hash := NewSecret()
	other, otherHash := NewSecret()
	require.NotEqual(t, secret, other)
	require.NotEqual(t, hash, otherHash)
	require.True(t, hash.Matches(secret))
	require.False(t, hash.Matches(other))
	require.False(t, hash.Matches(""))
	again, err := ParseHash(hash.String())
	require.NoError(t, err)
	require.Equal(t, hash, again)
	for _, text := range []string{"", "abc", hash.String() + "00", strings.Repeat("x", 64)} {
		_, err := ParseHash(text)
		require.ErrorContains(t, err, "64 hexadecimal digits")
	}

	id, got, err := CutToken(" home." + secret + "\n")
	require.NoError(t, err)
	require.Equal(t, []string{"home", secret}, []string{id, got})
	for _, token := range []string{"", "home", "home.", ".x", "Home." + secret, "home." + secret + "\nX: y", "home." + secret + " # mine"} {
		_, _, err := CutToken(token)
		require.Error(t, err)
		require.NotContains(t, err.Error(), secret)
	}
}

func TestStatus(t *testing.T) {
	require.Equal(t, "accepted", Accepted.String())
	require.Equal(t, "invalid", Invalid.String())
	require.False(t, Status(0).Valid())
	require.False(t, Status('H').Valid(), "the beginning of a response is no status")
	require.Equal(t, "status 72", Status('H').String())
}
