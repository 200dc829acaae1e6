package edgewaf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
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

// need says which zones the rules need.
func (f *Firewall) need(ctx caddy.Context, app *edgeapp.App) error {
	for _, r := range f.rules.packs.Rules() {
		if r.Action != rules.Limit {
			continue
		}
		by := fmt.Sprintf("edge_waf %s: rules: %s:%d: rule %s: zone", f.Name, r.Pack.File, r.Line, r.ID)
		if err := app.Need(ctx, edgeapp.DemandZone, r.Zone, by); err != nil {
			return err
		}
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
		return fmt.Errorf("rules: %w: say downgrade to have it so", err)
	}
	return nil
}
