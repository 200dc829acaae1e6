package ratefile

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const published = `
rules:
  - id: global
    key: ip
    path_prefix: /
    rate: 50
    burst: 100
    enabled: true
  - id: api
    key: header
    path_prefix: /api
    rate: 0.5
  - id: auth
    key: ip+path
    path_prefix: /auth
    rate: 5
    burst: 10
    enabled: false
  - id: token
    key: header:X-Token
    rate: 1
exemptions:
  cidrs: [127.0.0.0/8, "::1"]
  paths: [/healthz, /static/*]
`

func TestParse(t *testing.T) {
	f, err := Parse([]byte(published))
	require.NoError(t, err)
	require.Len(t, f.Rules, 4)
	off, on := false, true
	burst := func(n int) *int { return &n }
	require.Equal(t, Rule{ID: "global", Key: "ip", PathPrefix: "/", Rate: 50, Burst: burst(100), Enabled: &on}, f.Rules[0])
	require.Equal(t, Rule{ID: "api", Key: "header", Header: DefaultHeader, PathPrefix: "/api", Rate: 0.5, Burst: burst(1)}, f.Rules[1])
	require.Equal(t, Rule{ID: "auth", Key: "ip+path", PathPrefix: "/auth", Rate: 5, Burst: burst(10), Enabled: &off}, f.Rules[2])
	require.Equal(t, Rule{ID: "token", Key: "header", Header: "X-Token", Rate: 1, Burst: burst(2)}, f.Rules[3])
	require.Equal(t, Exemptions{CIDRs: []string{"127.0.0.0/8", "::1"}, Paths: []string{"/healthz", "/static/*"}}, f.Exemptions)
	require.True(t, f.Rules[1].On())
	require.False(t, f.Rules[2].On())
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "there are no rules",
		"rules: []":                           "there are no rules",
		"rules: 5":                            `line 1: rules: invalid value "5": want a list of rules`,
		"rules: [{id: a, rate: 1, brust: 3}]": `line 1: unknown field "brust"`,
		"rules:\n- id: a\n  rate: 5/s":        `line 3: rate: invalid value "5/s": want requests per second, such as 5 or 0.5, from 0.0000001 to 1000000`,
		"rules: [{id: a, rate: 1, burst: several of them}]":                       `line 1: burst: invalid value "several...": want a whole number`,
		"rules: [{id: a, rate: [1]}]":                                             `line 1: rate: invalid value: want requests per second`,
		"rules: [{id: a, rate: 1, enabled: maybe}]":                               `line 1: enabled: invalid value "maybe": want true or false`,
		"rules: [{id: {a: b}, rate: 1}]":                                          `line 1: id: invalid value: want a text`,
		"rules: [a]":                                                              `line 1: invalid value "a": want fields, each with a value`,
		"rules: [{id: a, rate: 1}]\nexemptions: {cidrs: 10.0.0.0/8}":              `line 2: cidrs: invalid value "10.0.0.0/8": want a list`,
		"rules: [{id: a, rate: 1}]\n---\nrules: []":                               "more than one document",
		"rules: [{rate: 1}]":                                                      `rule 1 (id ""): has no id`,
		"rules: [{id: a}]":                                                        `rule 1 (id "a"): rate: invalid value 0: want requests per second, such as 5 or 0.5, from 0.0000001 to 1000000`,
		"rules: [{id: a, rate: -1}]":                                              "rate: invalid value -1",
		"rules: [{id: a, rate: .nan}]":                                            "rate: invalid value NaN",
		"rules: [{id: a, rate: 1e9}]":                                             "rate: invalid value 1000000000: want",
		"rules: [{id: a, rate: 1, burst: -1}]":                                    "burst: invalid value -1",
		"rules: [{id: a, rate: 1, burst: 0}]":                                     "burst: invalid value 0",
		"rules: [{id: a b, rate: 1}]":                                             `rule 1 (id "a b"): id: invalid value: want letters`,
		"rules: [{id: a, rate: 0.001, burst: 18015}]":                             "burst: invalid value 18015 at a rate of 0.001: full burst must refill within 208 days",
		"rules: [{id: a, rate: 1}]\nexemptions: {cidrs: ['fe80::1%a']}":           `invalid address or CIDR "fe80::1%a"`,
		"rules: [{id: a, rate: 1}]\nexemptions: {cidrs: ['::ffff:10.0.0.0/104']}": "write IPv4 addresses as such",
		"rules: [{id: a, rate: 1}, {id: a, rate: 1}]":                             `rule 2 (id "a"): there are two`,
		"rules: [{id: a, rate: 1, key: cookie}]":                                  `key: unknown value "cookie"`,
		"rules: [{id: a, rate: 1, key: 'ip:x'}]":                                  `key: invalid value "ip:x"`,
		"rules: [{id: a, rate: 1, key: 'header: x y'}]":                           `header: invalid value " x y"`,
		"rules: [{id: a, rate: 1, key: ip, header: X}]":                           "only with the key header",
		"rules: [{id: a, rate: 1, path_prefix: api}]":                             `path_prefix: invalid value "api"`,
		"rules: [{id: a, rate: 1, path_prefix: '/a*'}]":                           "takes no wildcards",
		"rules: [{id: a, rate: 1}]\nexemptions: {cidrs: [10.0.0.0/33]}":           `invalid address or CIDR "10.0.0.0/33"`,
		"rules: [{id: a, rate: 1}]\nexemptions: {paths: ['a']}":                   `invalid path "a"`,
		"rules: [{id: a, rate: 1}]\nexemptions: {paths: ['/*/b']}":                `invalid path "/*/b"`,
	} {
		_, err := Parse([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err := Parse(make([]byte, MaxSize+1))
	require.ErrorContains(t, err, "are more than")
}

// FuzzParse: what is accepted is complete. That it can be used as it is, is a test of
// what makes zones of it.
func FuzzParse(f *testing.F) {
	f.Add([]byte(published))
	f.Add([]byte("rules: [{id: a, rate: 1, key: 'header:x'}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(text)
		if err != nil {
			return
		}
		ids := map[string]bool{}
		for _, r := range file.Rules {
			if r.ID == "" || ids[r.ID] || !(r.Rate > 0) || *r.Burst < 1 || r.Key == "header" && r.Header == "" {
				t.Fatalf("accepted %+v", r)
			}
			ids[r.ID] = true
		}
	})
}
