package crs

import (
	"maps"
	"slices"
)

// preset is what an application needs that the rules would take for an attack.
type preset struct {
	contentTypes []string
	exclude      []Exclusion
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
	for _, name := range o.Presets {
		all = append(all, presets[name].exclude...)
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
