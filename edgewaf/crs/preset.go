package crs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Preset is a named set of exceptions.
type Preset struct {
	Name string `json:"name"`
	// Paths are those for which it holds, as in Caddy's path matcher. Default: for
	// graphql /graphql, /graphql/* and */graphql, else all. wordpress takes none.
	Paths []string `json:"paths,omitempty"`
}

// Validate returns an error that names what is wrong.
func (p *Preset) Validate() error {
	known, ok := presets[p.Name]
	switch {
	case !ok:
		return fmt.Errorf("preset: unknown name %q: want %s", p.Name, strings.Join(PresetNames(), ", "))
	case known.own && len(p.Paths) > 0:
		return fmt.Errorf("preset: %s: takes no paths: it is about those of the application", p.Name)
	case slices.Contains(p.Paths, ""):
		return fmt.Errorf("preset: %s: a path is empty", p.Name)
	}
	return nil
}

// paths are those for which the preset holds. None: all.
func (p *Preset) paths() []string {
	if len(p.Paths) > 0 {
		return p.Paths
	}
	return presets[p.Name].paths
}

// preset is what an application needs that the rules would take for an attack.
type preset struct {
	contentTypes []string
	exclude      []Exclusion
	// paths are those for which it holds when none are given.
	paths []string
	// own: its exceptions have paths themselves.
	own bool
}

// presets are the sets of exceptions by name.
var presets = map[string]preset{
	// Interfaces that take files and records besides JSON. Nothing looks into these.
	"rest": {
		contentTypes: []string{
			"application/octet-stream", "application/x-ndjson", "application/cbor", "application/msgpack", "application/yaml", "text/csv",
			"application/pdf", "application/zip", "image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml",
		},
	},
	// Queries have the look of code, and come as JSON or as themselves.
	"graphql": {
		paths:        []string{"/graphql", "/graphql/*", "*/graphql"},
		contentTypes: []string{"application/graphql", "application/graphql+json", "application/graphql-response+json"},
		exclude: []Exclusion{{
			Params: []string{"query", "extensions", "*.query", "*.extensions", "operations"},
			Tags:   []string{"attack-sqli", "attack-xss", "attack-rce", "attack-injection-php", "attack-injection-generic", "attack-protocol", "attack-lfi"},
		}},
	},
	// Its messages are binary and its streams endless: only header and path are looked at.
	"grpc": {
		contentTypes: []string{
			"application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc-web", "application/grpc-web+proto",
			"application/grpc-web-text", "application/connect+proto", "application/connect+json", "application/proto",
		},
	},
	// The editor and the settings take HTML, scripts and paths.
	"wordpress": {
		own: true,
		exclude: []Exclusion{
			{
				Paths:  []string{"/wp-login.php", "*/wp-login.php"},
				Params: []string{"pwd", "pass1", "pass2", "redirect_to"},
			},
			{
				Paths:  []string{"/wp-admin/*", "*/wp-admin/*"},
				Params: []string{"content", "post_title", "excerpt", "newcontent", "pwd", "pass1", "pass2", "data*", "widget*", "customized", "wp_http_referer", "_wp_http_referer", "acf*", "meta*", "description", "url", "*_url"},
			},
			{
				Paths:  []string{"/wp-json/*", "*/wp-json/*"},
				Params: []string{"content", "content.raw", "title", "title.raw", "excerpt", "excerpt.raw", "description", "meta*", "password", "requests*", "blocks*", "settings*", "styles*"},
			},
			{
				Paths:  []string{"/wp-comments-post.php", "*/wp-comments-post.php"},
				Params: []string{"url"},
			},
			{Cookies: []string{"wordpress_*", "wp-settings-*", "comment_author_*"}},
		},
	},
}

// PresetNames returns the names of the sets of exceptions.
func PresetNames() []string { return slices.Sorted(maps.Keys(presets)) }

// Exclusions returns the exceptions of the options: those that always hold, and those that
// hold for some paths only. The caller decides about each of these for each request.
func (o *Options) Exclusions() (always, conditional []Exclusion) {
	all := slices.Clone(o.Exclude)
	for _, p := range o.Presets {
		if !o.Off {
			all = append(all, o.exclusionsOf(&p)...)
		}
	}
	for _, e := range all {
		if len(e.Paths) == 0 {
			always = append(always, e)
		} else {
			conditional = append(conditional, e)
		}
	}
	return always, conditional
}

// exclusionsOf returns the exceptions of a preset. Where it holds for some paths only its
// content types are exceptions too.
func (o *Options) exclusionsOf(p *Preset) []Exclusion {
	known := presets[p.Name]
	list := slices.Clone(known.exclude)
	if known.own || len(p.paths()) == 0 {
		return list
	}
	if len(known.contentTypes) > 0 && !o.onlyTypes() {
		list = append(list, Exclusion{Rules: []string{RuleContentType}, types: known.contentTypes})
	}
	for i := range list {
		list[i].Paths = p.paths()
	}
	return list
}
