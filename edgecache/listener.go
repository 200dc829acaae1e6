package edgecache

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// listeners are the addresses of a server. No two servers of a config have one
// in common, so the address at which a request came in tells them apart, also
// over reloads and when sites are added.
type listeners struct {
	server *caddyhttp.Server
	addrs  []listenAddress
}

type listenAddress struct {
	text        string
	first, last int  // ports; 0 for none
	everywhere  bool // on all interfaces
}

func newListeners(server *caddyhttp.Server) *listeners {
	l := &listeners{server: server}
	for _, text := range slices.Sorted(slices.Values(server.Listen)) {
		addr := listenAddress{text: text}
		if a, err := caddy.ParseNetworkAddress(text); err == nil {
			addr.first, addr.last = int(a.StartPort), int(a.EndPort)
			addr.everywhere = a.Network == "tcp" && a.Host == ""
		}
		l.addrs = append(l.addrs, addr)
	}
	return l
}

func (a *listenAddress) has(port int) bool { return port > 0 && a.first <= port && port <= a.last }

// append adds what tells the server from others with the same port in the host,
// which is the client's word. Nothing is needed at the port that the host names,
// on all interfaces: there can be only one such server. All addresses of one
// port share keys, so that IPv4 and IPv6 do.
func (l *listeners) append(buf []byte, local, named int) (key []byte, nuls int) {
	found := false
	for i := range l.addrs {
		if a := &l.addrs[i]; a.has(local) {
			found = true
			if a.everywhere && local == named {
				return buf, 0
			}
		}
	}
	if len(l.addrs) == 0 {
		return buf, 0
	}
	buf = append(buf, 0, partServer)
	for i := range l.addrs {
		if a := &l.addrs[i]; !found || a.has(local) {
			buf = append(append(buf, a.text...), ' ')
		}
	}
	return buf, 1
}

// appendServer adds to a key what tells the server of r from others.
func (k *keyer) appendServer(buf []byte, t *target, r *http.Request) (key []byte, nuls int) {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return buf, 0
	}
	l := k.listeners.Load()
	if l == nil || l.server != server {
		l = newListeners(server)
		k.listeners.Store(l)
	}
	named := defaultPort(t.scheme)
	if !k.rules.IgnoreHost {
		if port, ok := portOf(t.host); ok {
			named = port
		}
	}
	return l.append(buf, localPort(r), named)
}

// localPort is the port at which a request came in, 0 when it is not known.
func localPort(r *http.Request) int {
	switch a := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	default:
		return 0
	}
}

func defaultPort(scheme string) int {
	if scheme == "https" {
		return 443
	}
	return 80
}

// portOf returns the port that a host names, or -1 when it is none. ok is false
// when there is no port.
func portOf(host string) (port int, ok bool) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.IndexByte(host[i:], ']') >= 0 {
		return 0, false
	}
	for _, c := range []byte(host[i+1:]) {
		if c < '0' || c > '9' || port > 65535 {
			return -1, true
		}
		port = port*10 + int(c-'0')
	}
	return port, true
}
