package edgelimit

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgelimit/ratefile"
)

// readRules imports a file of rate-limit rules as zones.
func readRules(name string) ([]*Zone, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	file, err := ratefile.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	zones := []*Zone{}
	for i := range file.Rules {
		if r := &file.Rules[i]; r.On() {
			zones = append(zones, zoneOf(r, &file.Exemptions))
		}
	}
	return zones, nil
}

// zoneOf makes the zone of a rule.
func zoneOf(r *ratefile.Rule, e *ratefile.Exemptions) *Zone {
	n, per := r.Each()
	z := &Zone{Name: r.ID, Rate: Rate{n, per}, Burst: *r.Burst, Exempt: e.CIDRs}
	switch r.Key {
	case "ip+path":
		z.Key = DefaultKey + " {http.request.uri.path}"
	case "header":
		z.Key = "{http.request.header." + r.Header + "}"
	default:
		z.Key = DefaultKey
	}
	if prefix := r.PathPrefix; prefix != "" && prefix != "/" {
		paths := []string{prefix + "*"}
		if !strings.HasSuffix(prefix, "/") {
			paths = []string{prefix, prefix + "/*"} // not /api-docs for /api
		}
		z.MatcherSetsRaw = caddyhttp.RawMatcherSets{pathMatcher(paths)}
	}
	if len(e.Paths) > 0 {
		z.ExemptSetsRaw = caddyhttp.RawMatcherSets{pathMatcher(e.Paths)}
	}
	return z
}

func pathMatcher(paths []string) caddy.ModuleMap {
	text, err := json.Marshal(paths)
	if err != nil {
		panic(err) // strings always have a form in JSON
	}
	return caddy.ModuleMap{"path": text}
}
