// Package rules is the firewall of operators: rules in YAML packs, in the format that
// small edge proxies publish and in what it is extended by (docs/rules.md).
//
// Parse reads a pack, strictly; Compile makes a Set of packs; the Set finds the rules
// that a request or a response matches; Decide makes of these what is to be done. The
// package does nothing itself: it reads no clock and no network, and what it is given it
// leaves as it is.
//
// What a regular expression is held against is the text as it was sent, and as servers
// may read it: decoded once and twice. A rule that is written for plain text can't be got
// around by encoding it.
package rules
