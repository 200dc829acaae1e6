package edgewaf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/rules"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// Versions are those of what packs of rules may require.
var Versions = map[string]string{"edge": "1.0.0", "crs": "4.25.0"}

// provisionPacks reads the packs.
func (f *Firewall) provisionPacks() error {
	var packs []*rules.Pack
	if f.Basic == BasicOn {
		packs = append(packs, rules.Basic())
	}
	for _, pattern := range f.Packs {
		names := []string{pattern}
		if strings.Contains(pattern, "*") {
			var err error
			if names, err = filepath.Glob(pattern); err != nil {
				return fmt.Errorf("%s: %w", pattern, err)
			}
			if len(names) == 0 {
				return fmt.Errorf("%s: no file has such a name", pattern)
			}
			slices.Sort(names)
		}
		for _, name := range names {
			pack, err := readPack(name)
			if err != nil {
				return err
			}
			packs = append(packs, pack)
		}
	}
	set, err := rules.Compile(packs, Versions)
	if err != nil {
		return err
	}
	f.rules.packs = set
	for _, r := range set.Rules() {
		if r.Action == rules.Limit {
			f.purgers.app.Need(edgeapp.DemandZone, r.Zone, fmt.Sprintf("edge_waf: rules: %s:%d: rule %s: zone", r.Pack.File, r.Line, r.ID))
		}
	}
	for _, pack := range packs {
		for _, warning := range pack.Warnings {
			f.logger.Warn("a pack of rules has what is likely not meant", zap.String("file", pack.File), zap.String("warning", warning))
		}
	}
	if f.responses = f.Response; f.responses == nil && set.NeedsResponseBody() {
		f.responses = &ResponseOptions{Types: DefaultResponseTypes, Limit: DefaultResponseLimit, OnLimit: OnPass}
	}
	return nil
}

func readPack(name string) (*rules.Pack, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return rules.Read(name, file)
}

// checkVersions refuses packs that are older than those of the running firewall of this
// name.
func (f *Firewall) checkVersions() error {
	running := f.state.running.Load()
	if running == nil || f.Downgrade {
		return nil
	}
	if err := rules.NoDowngrade(running.rules.packs, f.rules.packs); err != nil {
		return fmt.Errorf("edge_waf: rules: %w: say downgrade to have it so", err)
	}
	return nil
}
