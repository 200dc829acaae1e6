package edgelimit

import (
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddyedge/caddy-edge/edgelimit/ratefile"
	"github.com/caddyedge/caddy-edge/internal/reloadtest"
)

// FuzzRules: a file of rules that is accepted can be used as it is: all its rules
// make zones.
func FuzzRules(f *testing.F) {
	f.Add([]byte("rules: [{id: a, rate: 5, burst: 10, key: ip+path, path_prefix: /a}, {id: b, rate: 0.5}]\nexemptions: {cidrs: [10.0.0.0/8], paths: [/b/*]}"))
	f.Add([]byte("rules: [{id: a b, rate: 1}]"))
	f.Add([]byte("rules: [{id: a, rate: 0.001, burst: 18015}]"))
	f.Add([]byte("rules: [{id: a, rate: 0.0000001, burst: 1}]"))
	f.Add([]byte("rules: [{id: a, rate: 999999.5}]"))
	f.Add([]byte("rules: [{id: a, rate: 1, key: 'header:x|y'}]"))
	f.Add([]byte("rules: [{id: a, rate: 1}]\nexemptions: {cidrs: ['::ffff:10.0.0.0/104', 'fe80::1%a']}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := ratefile.Parse(text)
		if err != nil {
			return
		}
		ctx, cancel := caddy.NewContext(reloadtest.Context())
		defer cancel()
		for i := range file.Rules {
			r := &file.Rules[i]
			if err := zoneOf(r, &file.Exemptions).provision(ctx); err != nil {
				t.Fatalf("rule %+v: %v", r, err)
			}
		}
	})
}
