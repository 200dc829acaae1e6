package rules

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRequirements(t *testing.T) {
	for _, test := range []struct{ requires, have, want string }{
		{">=1.2.0", "1.2.0", ""},
		{">=1.2.0", "1.10.0", ""},
		{">=1.2.0", "1.1.9", "but 1.1.9 is there"},
		{">=1.2.0", "1.2.0-rc.1", "but 1.2.0-rc.1 is there"},
		{">= 1.2.0 , <2.0.0", "1.9.0", ""},
		{">=1.2.0, <2.0.0", "2.0.0", "but 2.0.0 is there"},
		{">1.2.0", "1.2.0", "but 1.2.0 is there"},
		{"<=1.2.0", "1.2.0+build", ""},
		{"<=1.2.0", "1.2.1", "but 1.2.1 is there"},
		{"<1.2.0", "1.2.0-rc.1", ""},
		{"=1.2.0", "1.2.0", ""},
		{"=1.2.0", "1.2.1", "but 1.2.1 is there"},
		{">=1.2.0", "devel", `what is there has an invalid version "devel": want one such as 1.2.0`},
		{">=1.2.0", "", "which is not there"},
	} {
		p := parse(t, rule()+"pack:\n  name: mine\n  requires:\n    edge: '"+test.requires+"'\n")
		versions := map[string]string{"crs": "4.0.0"}
		if test.have != "" {
			versions["edge"] = test.have
		}
		_, err := Compile([]*Pack{p}, versions)
		if test.want == "" {
			require.NoError(t, err, test)
			continue
		}
		require.ErrorContains(t, err, "rules.yaml:9: pack mine requires edge "+test.requires)
		require.ErrorContains(t, err, test.want)
	}
}

func TestNoDowngrade(t *testing.T) {
	set := func(headers ...string) *Set {
		var packs []*Pack
		for i, h := range headers {
			packs = append(packs, parse(t, h+rule("id: rule"+string(rune('a'+i)))))
		}
		s, err := Compile(packs, nil)
		require.NoError(t, err)
		return s
	}
	a1, a2, a := "pack: {name: a, version: 1.9.0}\n", "pack: {name: a, version: 1.10.0}\n", "pack: {name: a}\n"
	b := "pack: {name: b, version: 0.1.0}\n"
	require.NoError(t, NoDowngrade(set(a1, b), set(a2)))
	require.NoError(t, NoDowngrade(set(a1), set(a1)))
	require.NoError(t, NoDowngrade(set(a2), set(b)), "another pack")
	require.NoError(t, NoDowngrade(set(a), set(a1)))
	require.NoError(t, NoDowngrade(set(""), set("")))
	require.NoError(t, NoDowngrade(nil, set(a1)))
	require.EqualError(t, NoDowngrade(set(b, a2), set(a1)), "rules.yaml:1: pack a 1.9.0 is older than 1.10.0, which is running")
	require.EqualError(t, NoDowngrade(set(a1), set(b, a)), "rules.yaml:1: pack a has no version, and 1.9.0 is running")
}
