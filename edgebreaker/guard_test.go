package edgebreaker

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func TestClassOf(t *testing.T) {
	for text, want := range map[string]string{
		"93.184.215.14": "", "2606:4700::1": "", "1.1.1.1": "",
		"127.0.0.1": "loopback", "127.255.0.9": "loopback", "::1": "loopback", "0.0.0.0": "loopback", "::": "loopback",
		"::ffff:127.0.0.1": "loopback", "::127.0.0.1": "loopback", "64:ff9b::127.0.0.1": "loopback", "2002:7f00:1::": "loopback",
		"2001:0:1::80ff:fffe": "loopback", // Teredo of 127.0.0.1
		"10.1.2.3":            "private", "172.31.0.1": "private", "192.168.0.1": "private", "100.64.0.1": "private", "fd12::1": "private",
		"64:ff9b::10.0.0.1": "private", "64:ff9b:1::10.0.0.1": "private", "255.255.255.255": "private",
		"169.254.1.1": "link_local", "fe80::1": "link_local", "fe80::1%eth0": "link_local", "224.0.0.1": "link_local", "ff02::1": "link_local",
		"169.254.169.254": "link_local and metadata", "::ffff:169.254.169.254": "link_local and metadata", "64:ff9b::a9fe:a9fe": "link_local and metadata",
		"2002:a9fe:a9fe::": "link_local and metadata", "fd00:ec2::254": "private and metadata", "100.100.100.200": "private and metadata",
		"168.63.129.16": "metadata", "169.254.170.2": "link_local and metadata", "fe80::a9fe:a9fe%eth0": "link_local and metadata",
	} {
		require.Equal(t, want, classOf(netip.MustParseAddr(text)).String(), text)
	}
}

func TestNumeric(t *testing.T) {
	for host, want := range map[string]bool{
		"0x7f.1": true, "0177.0.0.1": true, "2130706433": true, "0x7f000001": true, "127.1": true, "127.0.0.1.": true, "1.2.3.4.5": true, "a.0x": true,
		"example.com": false, "a1": false, "x0.dead": false, "localhost": false, "fe": false,
	} {
		require.Equal(t, want, numeric(host), host)
	}
}

func newTestGuard(t *testing.T, rules UpstreamRules) *guard {
	g, err := newGuard(&rules, zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(g.close)
	return g
}

func TestGuardChecks(t *testing.T) {
	for _, test := range []struct {
		address string
		rules   UpstreamRules
		want    string // of the error
	}{
		{"93.184.215.14:80", UpstreamRules{Deny: []string{"all"}}, ""},
		{"10.0.0.1:80", UpstreamRules{Deny: []string{"private"}}, "has the address 10.0.0.1, of the kind private, which upstreams deny private forbids"},
		{"10.0.0.1:80", UpstreamRules{Deny: []string{"loopback", "metadata"}}, ""},
		{"127.0.0.1:80", UpstreamRules{Deny: []string{"all"}}, "loopback"},
		{"127.0.0.1:80", UpstreamRules{Deny: []string{"all"}, AllowLoopback: true}, ""},
		{"169.254.169.254:80", UpstreamRules{Deny: []string{"all"}, AllowLoopback: true}, "metadata"},
		{"[fd00:ec2::254]:80", UpstreamRules{Deny: []string{"metadata"}}, "metadata"},
		{"[::ffff:127.0.0.1]:80", UpstreamRules{Deny: []string{"loopback"}}, "loopback"},
		{"[fe80::1%eth0]:80", UpstreamRules{Deny: []string{"link_local"}}, "link_local"},
		{"localhost:80", UpstreamRules{Deny: []string{"loopback"}}, "loopback"},
		{"0x7f.1:80", UpstreamRules{Deny: []string{"metadata"}}, "no host name"},
		{":80", UpstreamRules{Deny: []string{"loopback"}}, "loopback"},
		{"unix//run/app.sock", UpstreamRules{Deny: []string{"all"}}, "is a socket of this machine"},
		{"unix//run/app.sock", UpstreamRules{Deny: []string{"private"}}, ""},
		{"user@example.com:80", UpstreamRules{Deny: []string{"metadata"}}, "more than a host and a port"},
		{"does-not-exist.invalid:80", UpstreamRules{Deny: []string{"metadata"}}, "resolving does-not-exist.invalid"},
	} {
		v := newTestGuard(t, test.rules).check(t.Context(), test.address)
		if test.want == "" {
			require.NoError(t, v.err, test.address)
		} else {
			require.ErrorContains(t, v.err, test.want, test.address)
		}
	}
}

func TestGuardPins(t *testing.T) {
	g := newTestGuard(t, UpstreamRules{Deny: []string{"metadata"}, Pin: true})
	for range 2 {
		pinned, ok := g.allow(t.Context(), "localhost:8080")
		require.True(t, ok)
		host, port, err := net.SplitHostPort(strings.TrimPrefix(pinned, "tcp/"))
		require.NoError(t, err)
		require.Equal(t, "8080", port)
		require.True(t, netip.MustParseAddr(host).IsLoopback())
	}
	require.Len(t, g.known, 1)
	for i := range 2 * mostVerdicts {
		g.allow(t.Context(), fmt.Sprintf("10.0.%d.%d:80", i/256, i%256))
	}
	require.Len(t, g.known, mostVerdicts)
}

func TestGuardedProxy(t *testing.T) {
	a := newOrigin(t, "a")
	g := newRig(t)
	_, port, err := net.SplitHostPort(a.address)
	require.NoError(t, err)
	named := "localhost:" + port
	policy := func(rules string) string {
		return "edge_breaker\nreverse_proxy %s {\nlb_policy edge {\n" + rules + "\n}\n%s\n}"
	}
	load := func(rules, address, more string) error {
		return g.tryLoad(strings.Replace(strings.Replace(policy(rules), "%s", address, 1), "%s", more, 1))
	}
	require.ErrorContains(t, load("upstreams deny loopback", a.address, ""), "of the kind loopback")
	require.ErrorContains(t, load("upstreams deny all", named, ""), "lb_policy edge: upstreams: "+named+" has the address")
	require.ErrorContains(t, load("upstreams pin\nupstreams deny metadata", "https://"+named, ""), "set tls_server_name, or leave pin out")
	require.ErrorContains(t, load("upstreams deny all", "does-not-exist.invalid:80 169.254.169.254:80", ""), "169.254.169.254:80 has the address")
	require.NoError(t, load("upstreams deny all", "does-not-exist.invalid:80 93.184.215.14:80", ""))
	require.NoError(t, load("upstreams deny all\nupstreams allow_loopback\nupstreams pin", "127.0.0.1:"+port, ""))
	require.Equal(t, 200, g.get("/").status)
	requireState(t, a.address, 0)
	t.Run("at run time", func(t *testing.T) {
		require.NoError(t, load("upstreams deny private metadata", "{header.X-To}", ""))
		require.Equal(t, 200, g.get("/", "X-To: "+a.address).status)
		for _, to := range []string{"10.0.0.1:80", "169.254.169.254:80", "[::ffff:a9fe:a9fe]:80", "0xa9fea9fe:80"} {
			r := g.get("/", "X-To: "+to)
			require.Equal(t, 503, r.status, to)
		}
	})
}

// TestGuardIsNotBypassed: a policy around ours would choose without asking.
func TestGuardIsNotBypassed(t *testing.T) {
	g := newRig(t)
	for _, outer := range []string{"header X-Session", "cookie lb", "query id"} {
		name, _, _ := strings.Cut(outer, " ")
		require.ErrorContains(t, g.tryLoad("reverse_proxy 93.184.215.14:80 {\nlb_policy "+outer+" {\nfallback edge {\nupstreams deny all\n}\n}\n}"),
			"lb_policy edge: upstreams: not inside of http.reverse_proxy.selection_policies."+name+", which chooses backends without asking")
	}
}

// TestNamesAreCheckedAgain: a name may be given another address after the config was
// loaded; with pin it is not asked again.
func TestNamesAreCheckedAgain(t *testing.T) {
	h := &reverseproxy.Handler{Upstreams: reverseproxy.UpstreamPool{{Dial: "localhost:80"}, {Dial: "127.0.0.1:80"}}}
	for _, pin := range []bool{false, true} {
		g := newTestGuard(t, UpstreamRules{Deny: []string{"metadata"}, Pin: pin})
		require.NoError(t, g.checkProxy(h, nil))
		require.Equal(t, pin, g.known["localhost:80"].until.IsZero())
		require.True(t, g.known["127.0.0.1:80"].until.IsZero(), "an address stays what it is")
	}
}
