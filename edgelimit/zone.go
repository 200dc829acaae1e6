package edgelimit

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Zone is one limit: which requests count, what is one client, and how much each
// may.
type Zone struct {
	// Name identifies the zone in the admin API, metrics, logs and RateLimit
	// fields: letters, digits, "-", "_" and ".". Handlers that have a zone of
	// one name share its state, and must define it alike. Default: default.
	Name string `json:"name,omitempty"`

	// MatcherSetsRaw select the requests of the zone. Default: all.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Key tells clients apart: text with placeholders. A request in which all
	// of them are empty counts for its client's address. Default:
	// {http.vars.client_ip}, which honours trusted_proxies.
	Key string `json:"key,omitempty"`

	// IPv4Prefix and IPv6Prefix are how many bits of an address in the key
	// are one client. Default: 32 and 64, the least that one customer gets.
	IPv4Prefix int `json:"ipv4_prefix,omitempty"`
	IPv6Prefix int `json:"ipv6_prefix,omitempty"`

	// IPv4Outer and IPv6Outer add a second level: all addresses of this
	// shorter prefix together may have OuterFactor times the rate and burst.
	// Default: none.
	IPv4Outer int `json:"ipv4_outer,omitempty"`
	IPv6Outer int `json:"ipv6_outer,omitempty"`
	// OuterFactor is the share of the second level. Default: 10.
	OuterFactor int `json:"outer_factor,omitempty"`

	// Rate is how many requests each client may on average (GCRA). Default:
	// none; a zone needs a rate, a window or a concurrency.
	Rate Rate `json:"rate,omitzero"`
	// Burst is how many may come at once. Default, and meaning of zero: two seconds'
	// worth of a rate by the second, the whole number of a slower one.
	Burst int `json:"burst,omitempty"`
	// Window, in place of a rate, is how many requests each client may in any
	// window of that length (a sliding window of two counters). At most 65535.
	Window Rate `json:"window,omitzero"`

	// Concurrency is how many requests of a client may be in flight at once.
	// Default: any number.
	Concurrency int `json:"concurrency,omitempty"`

	// Penalty is how long a client that went beyond its rate or window stays
	// refused. Default: until there is room again.
	Penalty caddy.Duration `json:"penalty,omitempty"`

	// Count, when set, has only requests count that were answered with one of
	// these status codes; 4 stands for all of 400 to 499. Default: all count.
	Count []int `json:"count_status,omitempty"`

	// Cost is what one request costs: a number, or a placeholder that gives
	// one; what gives none costs 1. It is at most the burst. Default: 1.
	Cost string `json:"cost,omitempty"`

	// Exempt are addresses and CIDRs of clients that the zone does not
	// concern. Default: none.
	Exempt []string `json:"exempt,omitempty"`
	// ExemptSetsRaw select requests that the zone does not concern. Default: none.
	ExemptSetsRaw caddyhttp.RawMatcherSets `json:"exempt_match,omitempty" caddy:"namespace=http.matchers"`

	// OnDemand has the zone charged by handlers behind that name it, such as a rule of
	// edge_waf, and by nobody else. Such a zone has no concurrency and no count_status.
	// Default: false.
	OnDemand bool `json:"on_demand,omitempty"`

	// Mode is "enforce", "shadow" (count, log and report, refuse nobody) or
	// "off". Default: the handler's.
	Mode Mode `json:"mode,omitempty"`

	// Keys is for how many clients the zone has memory, 16 bytes each, taken
	// at the start. Beyond, the least indebted clients are forgotten. Default:
	// 131072.
	Keys int `json:"keys,omitempty"`

	// Cluster shares the rate with the other nodes through the Redis of the edge
	// app. Default: each node has limits of its own.
	Cluster bool `json:"cluster,omitempty"`

	matchers caddyhttp.MatcherSets
	exempt   exemption
	levels   []level
	count    map[int]bool
	cost     cost
	tables   *tables
	state    *state
	shared   *shared // nil: not in a cluster
	metrics  zoneCounters
}

// Defaults of a zone.
const (
	DefaultName        = "default"
	DefaultIPv4Prefix  = 32
	DefaultIPv6Prefix  = 64
	DefaultOuterFactor = 10
	DefaultKeys        = 128 << 10
)

// Mode is what a zone does with requests beyond its limit.
type Mode string

// The modes.
const (
	ModeEnforce Mode = "enforce" // refuse them
	ModeShadow  Mode = "shadow"  // count and report them
	ModeOff     Mode = "off"     // look at nothing
)

// concerns reports whether the zone counts a request.
func (z *Zone) concerns(r *http.Request) (bool, error) {
	if len(z.matchers) > 0 {
		if ok, err := z.matchers.AnyMatchWithError(r); err != nil || !ok {
			return false, err
		}
	}
	exempt, err := z.exempt.covers(r)
	return !exempt, err
}

// counted reports whether a status counts.
func (z *Zone) counted(status int) bool {
	return z.count[status] || z.count[status/100]
}
