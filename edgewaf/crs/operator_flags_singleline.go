//go:build coraza.rule.no_regex_multiline

package crs

// defaultFlags is what Coraza, built with the same tag, puts in front of each expression
// over UTF-8.
const defaultFlags = "(?s)"
