package agent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// Config says where an agent connects to, and as whom.
type Config struct {
	// Edges are the URLs of the edges, https://HOST[:PORT][/PATH]. http:// is for tests
	// and networks that nobody can listen to: the token is not encrypted then.
	Edges []string
	// Token returns the token, ID.SECRET. It is called for each connection, so that one
	// from a file may change.
	Token func() (string, error)
	// Name is the agent's, which no other agent of the edges may have.
	Name string
	// TLS is for the connections to the edges. Nil has the usual defaults.
	TLS *tls.Config
	// DataConns is how many connections there are to each edge beside the first, of which
	// each carries one request at a time. Default: none.
	DataConns int
	// Log must be set.
	Log *zap.Logger
}

// Check reports what is wrong with c.
func (c *Config) Check() error {
	if len(c.Edges) == 0 {
		return errors.New("edge: is missing")
	}
	for i, edge := range c.Edges {
		if _, err := parseEdge(edge); err != nil {
			return err
		}
		if slices.Contains(c.Edges[:i], edge) {
			return fmt.Errorf("edge: %s is given twice", edge)
		}
	}
	if err := wire.CheckName(c.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if c.DataConns < 0 || c.DataConns > wire.MostLanes {
		return fmt.Errorf("data_conns: invalid number %d: must be from 0 to %d", c.DataConns, wire.MostLanes)
	}
	return nil
}

func parseEdge(edge string) (*url.URL, error) {
	u, err := url.Parse(edge)
	switch {
	case err != nil:
		return nil, fmt.Errorf("edge: invalid URL %q", edge)
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", !validPort(u.Port(), false):
		return nil, fmt.Errorf("edge: invalid URL %q: want https://HOST", edge)
	case u.User != nil, u.Fragment != "", u.RawQuery != "":
		return nil, fmt.Errorf("edge: invalid URL %q: must have no user, query or fragment", u.Redacted())
	}
	return u, nil
}

// Forward says where the requests for a backend go.
type Forward struct {
	// To is the backend's URL: http, https, h2c or unix; a path is put in front of the
	// requests'. Without a scheme it is http.
	To string
	// Weight is the backend's share of the requests in relation to the same backend of
	// other agents, 1 to 65535, where lb_policy edge chooses. Default: 1.
	Weight int
	// Host replaces the Host of the requests. Default: it stays.
	Host string
	// StripPrefix is taken off the front of the paths.
	StripPrefix string
	// Paths are the beginnings of paths that are passed on; others get 404. Default: all
	// are.
	Paths []string
	// StripCredentials takes Authorization, Cookie and Proxy-Authorization out of the
	// requests.
	StripCredentials bool
	// InsecureSkipVerify accepts any certificate of a backend with https.
	InsecureSkipVerify bool
	// DialTimeout bounds how long connecting to the backend takes. Default: 5s.
	DialTimeout time.Duration
	// MaxRequests bounds the requests at a time. Default: 1000.
	MaxRequests int
	// HealthURI is asked for regularly, and must be answered with 2xx or 3xx. Default: the
	// backend is not checked.
	HealthURI string
	// HealthInterval and HealthTimeout are how often, and how long an answer may take.
	// Default: 10s; 5s.
	HealthInterval, HealthTimeout time.Duration
	// HealthFails is after how many failures the backend is not healthy. Default: 2.
	HealthFails int
}

// Check reports what is wrong with f.
func (f Forward) Check() error {
	_, err := f.prepare()
	return err
}

// Defaults of Forward.
const (
	DefaultDialTimeout    = 5 * time.Second
	DefaultMaxRequests    = 1000
	DefaultHealthInterval = 10 * time.Second
	DefaultHealthTimeout  = 5 * time.Second
	DefaultHealthFails    = 2
)

// destination is where a backend is.
type destination struct {
	scheme string // http or https
	host   string // with a port where there must be one
	socket string // of a unix socket
	h2c    bool
	path   string
}

func (f *Forward) destination() (d destination, err error) {
	to := f.To
	if socket, ok := strings.CutPrefix(to, "unix/"); ok {
		if socket == "" {
			return d, fmt.Errorf("to: invalid address %q: want unix//PATH", f.To)
		}
		return destination{scheme: "http", host: "localhost", socket: socket}, nil
	}
	bare := !strings.Contains(to, "://")
	if bare {
		to = "http://" + to
	}
	u, err := url.Parse(to)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !validPort(u.Port(), bare) ||
		strings.Contains(u.Path, "..") || strings.ContainsAny(u.Path, " *") {
		return d, fmt.Errorf("to: invalid address %q: want HOST:PORT, http://HOST, https://HOST, h2c://HOST or unix//PATH", f.To)
	}
	d = destination{scheme: u.Scheme, host: u.Host, path: strings.TrimSuffix(u.Path, "/")}
	switch u.Scheme {
	case "http", "https":
	case "h2c":
		d.scheme, d.h2c = "http", true
	default:
		return d, fmt.Errorf("to: invalid address %q: the scheme must be http, https or h2c", f.To)
	}
	return d, nil
}

// validPort reports whether there is a port, if it is needed, that is one.
func validPort(port string, needed bool) bool {
	if port == "" {
		return !needed
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// prepare checks f and fills the defaults in.
func (f *Forward) prepare() (destination, error) {
	d, err := f.destination()
	if err != nil {
		return d, err
	}
	orDefault(&f.Weight, 1)
	orDefault(&f.DialTimeout, DefaultDialTimeout)
	orDefault(&f.MaxRequests, DefaultMaxRequests)
	orDefault(&f.HealthInterval, DefaultHealthInterval)
	orDefault(&f.HealthTimeout, DefaultHealthTimeout)
	orDefault(&f.HealthFails, DefaultHealthFails)
	switch {
	case f.Weight < 1 || f.Weight > wire.MostWeight:
		return d, fmt.Errorf("weight: invalid number %d: must be from 1 to %d", f.Weight, wire.MostWeight)
	case f.DialTimeout < 0, f.HealthInterval < 0, f.HealthTimeout < 0:
		return d, errors.New("dial_timeout, health_interval and health_timeout must be above zero")
	case f.MaxRequests < 1:
		return d, fmt.Errorf("max_requests: invalid number %d: must be above zero", f.MaxRequests)
	case f.HealthFails < 1:
		return d, fmt.Errorf("health_fails: invalid number %d: must be above zero", f.HealthFails)
	case f.HealthURI != "" && !strings.HasPrefix(f.HealthURI, "/"):
		return d, fmt.Errorf("health_uri: invalid value %q: must begin with /", f.HealthURI)
	case f.StripPrefix != "" && !strings.HasPrefix(f.StripPrefix, "/"):
		return d, fmt.Errorf("strip_prefix: invalid value %q: must begin with /", f.StripPrefix)
	case strings.ContainsAny(f.Host, " /\r\n"):
		return d, fmt.Errorf("host: invalid value %q", f.Host)
	}
	for _, p := range f.Paths {
		if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "*?") {
			return d, fmt.Errorf("paths: invalid value %q: must begin with /, and is no pattern", p)
		}
	}
	return d, nil
}

func orDefault[T comparable](value *T, usual T) {
	var zero T
	if *value == zero {
		*value = usual
	}
}
