package edgelimit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgelimit/gcra"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
)

// DefaultNotice is the default of Limit.Notice.
const DefaultNotice = time.Minute

// DefaultRate is the limit of a handler without zones.
var DefaultRate = Rate{100, time.Second}

// maxPenalty is what fits into a table of penalties.
const maxPenalty = caddy.Duration(200 * 24 * time.Hour)

// minKeys and maxKeys bound the memory of a zone: 4 KiB to 4 GiB.
const (
	minKeys = 256
	maxKeys = 1 << 28
)

func (l *Limit) provisionOptions() error {
	if err := l.provisionRefusal(); err != nil {
		return fmt.Errorf("edge_limit: %w", err)
	}
	if err := l.Mode.provision(ModeEnforce); err != nil {
		return fmt.Errorf("edge_limit: %w", err)
	}
	if l.Notice < 0 {
		return fmt.Errorf("edge_limit: notice: %s is negative", time.Duration(l.Notice))
	}
	if l.Notice == 0 {
		l.Notice = caddy.Duration(DefaultNotice)
	}
	notices, err := gcra.Rate(1, time.Duration(l.Notice), 1)
	if err != nil {
		return fmt.Errorf("edge_limit: notice: invalid value %s: %w", time.Duration(l.Notice), err)
	}
	l.notices = &notices
	if l.Rules != "" {
		zones, err := readRules(l.Rules)
		if err != nil {
			return fmt.Errorf("edge_limit: rules: %w", err)
		}
		if l.Zones = slices.Concat(l.Zones, zones); len(l.Zones) == 0 {
			l.logger.Warn("nothing is limited: all rules are turned off", zap.String("rules", l.Rules))
		}
	} else if len(l.Zones) == 0 {
		l.Zones = []*Zone{{Rate: DefaultRate}}
	}
	names := make(map[string]bool, len(l.Zones))
	for _, z := range l.Zones {
		if z.Name == "" {
			z.Name = DefaultName
		}
		if names[z.Name] {
			return fmt.Errorf("edge_limit: zone %s: there are two zones of this name", z.Name)
		}
		names[z.Name] = true
	}
	return nil
}

// validName reports whether a name can stand in logs, labels and fields as it is.
func validName(s string) bool {
	return s != "" && strings.Trim(s, "-_.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// provision checks a mode; the default stands for an empty one.
func (m *Mode) provision(def Mode) error {
	switch *m {
	case "":
		*m = def
	case ModeEnforce, ModeShadow, ModeOff:
	default:
		return fmt.Errorf("mode: unknown value %q: want enforce, shadow or off", *m)
	}
	return nil
}

// provisionZone checks a zone and joins its state.
func (l *Limit) provisionZone(ctx caddy.Context, app *edgeapp.App, z *Zone) error {
	if err := z.Mode.provision(l.Mode); err != nil {
		return fmt.Errorf("edge_limit: zone %s: %w", z.Name, err)
	}
	// Before modules are loaded, which takes their JSON away.
	definition, err := json.Marshal(z)
	if err != nil {
		return fmt.Errorf("edge_limit: zone %s: %w", z.Name, err)
	}
	if err := z.provision(ctx); err != nil {
		return fmt.Errorf("edge_limit: zone %s: %w", z.Name, err)
	}
	if err := app.Claim("edge_limit: zone "+z.Name, string(definition)); err != nil {
		return err
	}
	if err := z.provisionCluster(app); err != nil {
		return fmt.Errorf("edge_limit: zone %s: %w", z.Name, err)
	}
	ref, err := pool.Take(z.Name, newState(z.Name))
	if err != nil {
		return err
	}
	l.refs = append(l.refs, ref)
	z.state = ref.Value()
	slots := z.Keys
	if z.levels[0].limit == nil {
		slots = minKeys // only concurrency
	}
	z.tables = z.state.prepare(z.Window.Per, slots)
	z.metrics = newZoneCounters(z.Name)
	l.after = l.after || z.count != nil
	if z.OnDemand {
		l.demanded = true
		app.Offer(edgeapp.DemandZone, z.Name)
	}
	app.OnStart(func() error {
		z.state.start(z)
		return nil
	})
	return nil
}

func (z *Zone) provision(ctx caddy.Context) error {
	if !validName(z.Name) {
		return fmt.Errorf("name: invalid value %q: want letters, digits, dots, - and _", z.Name)
	}
	if err := z.provisionLimit(); err != nil {
		return err
	}
	for _, m := range []struct {
		what string
		name string
		sets *caddyhttp.MatcherSets
		raw  caddyhttp.RawMatcherSets
	}{{"match", "MatcherSetsRaw", &z.matchers, z.MatcherSetsRaw}, {"exempt", "ExemptSetsRaw", &z.exempt.matchers, z.ExemptSetsRaw}} {
		if m.raw == nil {
			continue
		}
		loaded, err := ctx.LoadModule(z, m.name)
		if err != nil {
			return fmt.Errorf("%s: loading matchers: %w", m.what, err)
		}
		if err := m.sets.FromInterface(loaded); err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
	}
	var err error
	if z.exempt.prefixes, err = newPrefixes(z.Exempt); err != nil {
		return fmt.Errorf("exempt: %w", err)
	}
	return nil
}

// provisionLimit checks what depends on no module.
func (z *Zone) provisionLimit() error {
	if z.Rate == (Rate{}) && z.Window == (Rate{}) && z.Concurrency == 0 {
		return fmt.Errorf("limits nothing: want a rate, a window or a concurrency")
	}
	if z.OnDemand && (z.Concurrency != 0 || len(z.Count) > 0) {
		return fmt.Errorf("on_demand excludes concurrency and count status")
	}
	if z.Rate != (Rate{}) && z.Window != (Rate{}) {
		return fmt.Errorf("rate %s and window %s exclude each other", z.Rate, z.Window)
	}
	if z.Burst != 0 && z.Rate == (Rate{}) {
		return fmt.Errorf("burst: %d: needs a rate", z.Burst)
	}
	if z.Burst < 0 {
		return fmt.Errorf("burst: invalid value %d: must be at least 1", z.Burst)
	}
	if z.Burst == 0 {
		z.Burst = z.Rate.burst()
	}
	if z.Concurrency < 0 {
		return fmt.Errorf("concurrency: invalid value %d: must be at least 1", z.Concurrency)
	}
	if z.Penalty < 0 || z.Penalty > maxPenalty {
		return fmt.Errorf("penalty: invalid value %s: want at most %s", time.Duration(z.Penalty), time.Duration(maxPenalty))
	}
	if z.Rate == (Rate{}) && z.Window == (Rate{}) {
		for _, o := range []struct {
			name  string
			given bool
			value any
		}{
			{"penalty", z.Penalty != 0, time.Duration(z.Penalty)}, {"cost", z.Cost != "", z.Cost},
			{"keys", z.Keys != 0, z.Keys}, {"count", len(z.Count) > 0, z.Count},
		} {
			if o.given {
				return fmt.Errorf("%s: %v: needs a rate or a window", o.name, o.value)
			}
		}
	}
	if z.Keys == 0 {
		z.Keys = DefaultKeys
	}
	if z.Keys < minKeys || z.Keys > maxKeys {
		return fmt.Errorf("keys: invalid value %d: want %d to %d", z.Keys, minKeys, maxKeys)
	}
	if err := z.provisionCount(); err != nil {
		return err
	}
	if err := z.provisionCost(); err != nil {
		return err
	}
	return z.provisionLevels()
}

func (z *Zone) provisionCount() error {
	if len(z.Count) == 0 {
		return nil
	}
	z.count = make(map[int]bool, len(z.Count))
	for _, status := range z.Count {
		if class := status >= 1 && status <= 5; !class && (status < 100 || status > 599) {
			return fmt.Errorf("count: invalid status %d: want 100 to 599, or 1 to 5 for a class", status)
		}
		z.count[status] = true
	}
	return nil
}

// most is the most that one request may cost.
func (z *Zone) most() int {
	if z.Window != (Rate{}) {
		return z.Window.N
	}
	return max(z.Burst, 1)
}

func (z *Zone) provisionCost() error {
	z.cost = cost{fixed: 1, most: z.most()}
	if z.Cost == "" {
		return nil
	}
	if strings.HasPrefix(z.Cost, "{") && strings.HasSuffix(z.Cost, "}") {
		if _, err := parseKey(z.Cost, 0, 0); err != nil {
			return fmt.Errorf("cost: %w", err)
		}
		z.cost.repl = z.Cost
		return nil
	}
	n, err := strconv.Atoi(z.Cost)
	if err != nil || n < 1 {
		return fmt.Errorf("cost: invalid value %q: want a number above zero or a placeholder", z.Cost)
	}
	if n > z.cost.most {
		return fmt.Errorf("cost: %d is more than the %d that may come at once: no request would ever be allowed", n, z.cost.most)
	}
	z.cost.fixed = n
	return nil
}

func (z *Zone) provisionLevels() error {
	if z.Key == "" {
		z.Key = DefaultKey
	}
	inner, err := parseKey(z.Key, 0, 0)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	hasAddress := slices.ContainsFunc(inner.parts, func(p part) bool { return p.kind == clientIP || p.kind == remoteIP })
	for _, p := range []struct {
		name      string
		value     *int
		def, most int
		needs     string // what is missing for the option to mean anything
	}{
		{"ipv4_prefix", &z.IPv4Prefix, DefaultIPv4Prefix, 32, missing(!hasAddress, "an address in the key")},
		{"ipv6_prefix", &z.IPv6Prefix, DefaultIPv6Prefix, 128, missing(!hasAddress, "an address in the key")},
		{"outer_factor", &z.OuterFactor, DefaultOuterFactor, 1 << 20, missing(z.IPv4Outer == 0 && z.IPv6Outer == 0, "a second level of prefixes")},
	} {
		if *p.value == 0 {
			*p.value = p.def
		} else if p.needs != "" {
			return fmt.Errorf("%s: %d: needs %s", p.name, *p.value, p.needs)
		}
		if *p.value < 1 || *p.value > p.most {
			return fmt.Errorf("%s: invalid value %d: want 1 to %d", p.name, *p.value, p.most)
		}
	}
	inner.v4, inner.v6 = z.IPv4Prefix, z.IPv6Prefix
	limit, per, err := z.newLimit(1)
	if err != nil {
		return err
	}
	z.levels = []level{{keyer: *inner, limit: limit, quota: newQuota(z.Name, z.quotaOf(), per)}}
	if z.IPv4Outer == 0 && z.IPv6Outer == 0 {
		return nil
	}
	if !hasAddress {
		return fmt.Errorf("%s: the key %q has no address", z.outerOption(), z.Key)
	}
	return z.provisionOuter(inner)
}

// missing returns what an option lacks, if it does.
func missing(lacks bool, what string) string {
	if lacks {
		return what
	}
	return ""
}

// provisionOuter adds the level of the networks around the clients.
func (z *Zone) provisionOuter(inner *keyer) error {
	if z.levels[0].limit == nil {
		return fmt.Errorf("%s: needs a rate or a window", z.outerOption())
	}
	outer := keyer{parts: inner.parts, names: inner.names, v4: -1, v6: -1}
	for _, p := range []struct {
		name         string
		value, inner int
		bits         *int
	}{{"ipv4_prefix", z.IPv4Outer, z.IPv4Prefix, &outer.v4}, {"ipv6_prefix", z.IPv6Outer, z.IPv6Prefix, &outer.v6}} {
		if p.value == 0 {
			continue
		}
		if p.value < 1 || p.value >= p.inner {
			return fmt.Errorf("%s: invalid second level %d: want 1 to %d", p.name, p.value, p.inner-1)
		}
		*p.bits = p.value
	}
	limit, per, err := z.newLimit(z.OuterFactor)
	if err != nil {
		return fmt.Errorf("outer_factor: %d: %w", z.OuterFactor, err)
	}
	z.levels = append(z.levels, level{
		keyer: outer, limit: limit, outer: true, quota: newQuota(z.Name, z.quotaOf()*z.OuterFactor, per),
	})
	return nil
}

// outerOption names the option that gives the second level, and its value.
func (z *Zone) outerOption() string {
	if z.IPv4Outer != 0 {
		return fmt.Sprintf("ipv4_prefix: second level %d", z.IPv4Outer)
	}
	return fmt.Sprintf("ipv6_prefix: second level %d", z.IPv6Outer)
}

// newLimit returns the limit of a level and the time in which it is there anew.
func (z *Zone) newLimit(factor int) (*gcra.Limit, time.Duration, error) {
	var (
		limit gcra.Limit
		per   time.Duration
		err   error
	)
	switch {
	case z.Rate != (Rate{}):
		limit, err = gcra.Rate(float64(z.Rate.N)*float64(factor), z.Rate.Per, z.Burst*factor)
		per = time.Duration(float64(z.Rate.Per) * float64(z.Burst) / float64(z.Rate.N))
		if errors.Is(err, gcra.ErrRate) {
			return nil, 0, fmt.Errorf("rate: invalid value %q: must be at most 1000000 per second", z.Rate)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("rate %s, burst %d: %w", z.Rate, z.Burst, err)
		}
	case z.Window != (Rate{}):
		per = z.Window.Per
		if limit, err = gcra.Window(z.Window.N*factor, per); errors.Is(err, gcra.ErrSpan) {
			return nil, 0, fmt.Errorf("window: invalid value %q: must be at most 208 days long", z.Window)
		} else if err != nil {
			return nil, 0, fmt.Errorf("window %s: %w", z.Window, err)
		}
	default:
		return nil, 0, nil
	}
	if z.count != nil {
		// What concurrent requests run up beyond the limit is owed; not without
		// bound, since it may be many at once in good faith.
		for most := owedLimits * z.most() * factor; most > 0; most /= 2 {
			if owing, err := limit.Overdraft(most); err == nil {
				limit = owing
				break
			}
		}
	}
	return &limit, per, nil
}

// owedLimits is how many times its limit a client may owe that is counted by the
// status of responses.
const owedLimits = 20

// quotaOf is the limit as clients are told it.
func (z *Zone) quotaOf() int {
	switch {
	case z.Rate != (Rate{}):
		return z.Burst
	case z.Window != (Rate{}):
		return z.Window.N
	}
	return z.Concurrency
}
