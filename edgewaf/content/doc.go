// Package content prepares what a firewall looks at: it undoes the codings of content, within
// bounds, and ends content that was cut such that its beginning can be read.
package content
