package edgeapp

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/coreos/go-semver/semver"
)

// MinCaddy is the oldest supported Caddy.
const MinCaddy = "2.11.0"

// runningCaddy returns the version of the Caddy that this is a part of.
var runningCaddy = func() string {
	version, _ := caddy.Version()
	return version
}

var minCaddy = *semver.New(MinCaddy)

// CheckVersion fails when s, a version of Caddy such as v2.11.9, is older than
// MinCaddy. Only the release number counts, so that pre-releases and
// pseudo-versions pass with the release they lead to. Builds without a release
// number ("", "unknown", "(devel)", a commit) pass, as nothing is known of them.
func CheckVersion(s string) error {
	version, ok := parseVersion(s)
	if ok && version.LessThan(minCaddy) {
		return fmt.Errorf("this build has Caddy %s, but the edge modules need %s or newer: rebuild with a newer Caddy", s, MinCaddy)
	}
	return nil
}

// parseVersion reads the release number of s.
func parseVersion(s string) (semver.Version, bool) {
	// Caddy appends _custom to the version of a replaced module, which is no
	// valid semantic version.
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "_")
	version, err := semver.NewVersion(s)
	// A pseudo-version without an earlier tag counts from 0.0.0.
	if err != nil || version.Major == 0 {
		return semver.Version{}, false
	}
	version.PreRelease = ""
	return *version, true
}
