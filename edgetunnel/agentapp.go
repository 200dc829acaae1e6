package edgetunnel

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgetunnel/agent"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// agentDirective is the name of the app, and of its global option.
const agentDirective = "edge_agent"

func init() {
	caddy.RegisterModule(new(AgentApp))
}

// AgentApp is an agent in this process. It serves the sites that are bound to
// edge_tunnel/NAME, and backends over HTTP.
type AgentApp struct {
	// Edges are the URLs of the edges.
	Edges []string `json:"edges,omitempty"`
	// Name is the agent's. Default: the name of the machine.
	Name string `json:"name,omitempty"`
	// Token is the token, which may be a placeholder. TokenFile is a file that has it, and
	// is read for each connection. One of them must be given.
	Token     string `json:"token,omitempty"`
	TokenFile string `json:"token_file,omitempty"`
	// CA are files of certificates, in PEM, that the edges' must be signed by. Default:
	// those of the system.
	CA []string `json:"ca,omitempty"`
	// Certificate and Key are files of the agent's own certificate, in PEM.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
	// DataConns is how many connections there are to each edge beside the first, of which
	// each carries one request at a time, up to 16. Default: none.
	DataConns int `json:"data_conns,omitempty"`
	// Drain is how long requests under way may take at the end. Default: 30s.
	Drain caddy.Duration `json:"drain,omitempty"`
	// Backends are those over HTTP.
	Backends []AgentBackend `json:"backends,omitempty"`

	config agent.Config
	ref    *poolref.Ref[*runningAgent]
	stops  []func()
}

// AgentBackend is a backend over HTTP.
type AgentBackend struct {
	// Name is how edges call it.
	Name string `json:"name"`
	// To is its address: HOST:PORT, http://, https://, h2c:// or unix//PATH. A path is put
	// in front of the requests'.
	To string `json:"to"`
	// Weight is its share of the requests in relation to the same backend of other agents,
	// 1 to 65535, where lb_policy edge chooses. Default: 1.
	Weight int `json:"weight,omitempty"`
	// Host replaces the Host of the requests. Default: it stays.
	Host string `json:"host,omitempty"`
	// StripPrefix is taken off the front of the paths.
	StripPrefix string `json:"strip_prefix,omitempty"`
	// Paths are the beginnings of paths that are passed on; others get 404. Default: all.
	Paths []string `json:"paths,omitempty"`
	// StripCredentials takes Authorization, Cookie and Proxy-Authorization out.
	StripCredentials bool `json:"strip_credentials,omitempty"`
	// InsecureSkipVerify accepts any certificate of a backend with https.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
	// DialTimeout bounds how long connecting takes. Default: 5s.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`
	// MaxRequests bounds the requests at a time. Default: 1000.
	MaxRequests int `json:"max_requests,omitempty"`
	// HealthURI is asked for each HealthInterval and must be answered with 2xx or 3xx
	// within HealthTimeout; HealthFails failures in a row take the backend out. Default:
	// none; 10s; 5s; 2.
	HealthURI      string         `json:"health_uri,omitempty"`
	HealthInterval caddy.Duration `json:"health_interval,omitempty"`
	HealthTimeout  caddy.Duration `json:"health_timeout,omitempty"`
	HealthFails    int            `json:"health_fails,omitempty"`
}

func (b *AgentBackend) forward() agent.Forward {
	return agent.Forward{
		To: b.To, Weight: b.Weight, Host: b.Host, StripPrefix: b.StripPrefix, Paths: b.Paths,
		StripCredentials: b.StripCredentials, InsecureSkipVerify: b.InsecureSkipVerify,
		DialTimeout: time.Duration(b.DialTimeout), MaxRequests: b.MaxRequests,
		HealthURI: b.HealthURI, HealthInterval: time.Duration(b.HealthInterval), HealthTimeout: time.Duration(b.HealthTimeout), HealthFails: b.HealthFails,
	}
}

// CaddyModule returns the Caddy module information.
func (*AgentApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  agentDirective,
		New: func() caddy.Module { return new(AgentApp) },
	}
}

// local are the backends of the agents in this process.
var local = &agent.Backends{Log: func() *zap.Logger { return caddy.Log().Named(agentDirective) }}

// agents hold the agents of the process, so that a config which changes nothing about one
// leaves it connected.
var agents = poolref.New[*runningAgent]()

// runningAgent is one that is connected.
type runningAgent struct {
	*agent.Agent
	drain time.Duration
}

// Destruct implements caddy.Destructor. A process that ends waits for the requests under
// way, a config that takes another one's place does not.
func (r *runningAgent) Destruct() error {
	if caddy.Exiting() {
		r.Drain(r.drain)
	} else {
		go r.Drain(r.drain)
	}
	return nil
}

// Provision checks the options.
func (a *AgentApp) Provision(caddy.Context) error {
	if err := a.provision(); err != nil {
		return fmt.Errorf("%s: %w", agentDirective, err)
	}
	return nil
}

func (a *AgentApp) provision() error {
	if err := a.checkOptions(); err != nil {
		return err
	}
	token, err := a.tokenSource()
	if err != nil {
		return err
	}
	config, err := tlsConfig(a.CA, a.Certificate, a.Key)
	if err != nil {
		return err
	}
	a.config = agent.Config{
		Edges: a.Edges, Name: a.Name, Token: token, TLS: config, DataConns: a.DataConns,
		Log: caddy.Log().Named(agentDirective), // the agent outlives the loggers of configs
	}
	return a.config.Check()
}

// checkOptions fills the defaults in and checks what can be without files and the
// environment.
func (a *AgentApp) checkOptions() error {
	if a.Name == "" {
		a.Name = machineName()
	}
	orDefault(&a.Drain, caddy.Duration(defaultDrain))
	if d := time.Duration(a.Drain); d < 0 || d > longestDrain {
		return fmt.Errorf("drain: invalid duration %s: must be above zero, %s at most", d, longestDrain)
	}
	if (a.Token == "") == (a.TokenFile == "") {
		return errors.New("token: want either token or token_file")
	}
	if (a.Certificate == "") != (a.Key == "") {
		return errors.New("certificate: wants two files, the certificate and its key")
	}
	seen := make(map[string]bool)
	for _, b := range a.Backends {
		if err := errors.Join(wire.CheckName(b.Name), b.forward().Check()); err != nil {
			return fmt.Errorf("backend: %s: %w", b.Name, err)
		}
		if seen[b.Name] {
			return fmt.Errorf("backend: %s: is given twice", b.Name)
		}
		seen[b.Name] = true
	}
	config := agent.Config{Edges: a.Edges, Name: a.Name, DataConns: a.DataConns}
	return config.Check()
}

// machineName is the name of the machine, as far as it can be that of an agent.
func machineName() string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	name := strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '-'
	}, host), "-_")
	const most = 40
	if name == "" {
		name = "agent"
	}
	return name[:min(len(name), most)]
}

// tokenSource returns what gives the token, and checks it once.
func (a *AgentApp) tokenSource() (func() (string, error), error) {
	source := func() (string, error) { return readToken(a.TokenFile) }
	if a.Token != "" {
		token, err := caddy.NewReplacer().ReplaceOrErr(a.Token, true, true)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		source = func() (string, error) { return token, nil }
	}
	token, err := source()
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if _, _, err := wire.CutToken(token); err != nil {
		if a.TokenFile != "" {
			err = fmt.Errorf("%s: %w", a.TokenFile, err)
		}
		return nil, fmt.Errorf("token: %w", err)
	}
	return source, nil
}

func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// tlsConfig reads the files of certificates.
func tlsConfig(authorities []string, certificate, key string) (*tls.Config, error) {
	config := new(tls.Config)
	if len(authorities) > 0 {
		config.RootCAs = x509.NewCertPool()
	}
	for _, file := range authorities {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if !config.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("ca: %s has no certificate in PEM", file)
		}
	}
	if certificate == "" {
		return config, nil
	}
	if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	// It is read for each connection, since it may be renewed.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(certificate, key)
		return &c, err
	}
	return config, nil
}

// key tells agents apart: what they would do otherwise if it were different.
func (a *AgentApp) key() string {
	h := sha256.New()
	token := ""
	if a.TokenFile == "" {
		token, _ = a.config.Token() // what a placeholder stands for
	}
	for _, part := range [][]string{a.Edges, {a.Name, token, a.TokenFile, a.Certificate, a.Key, fmt.Sprint(a.DataConns, a.Drain)}, a.CA} {
		fmt.Fprintf(h, "%q\n", part)
	}
	for _, file := range a.CA {
		b, _ := os.ReadFile(file) // it was read before
		fmt.Fprintf(h, "%x\n", sha256.Sum256(b))
	}
	return a.Name + " " + hex.EncodeToString(h.Sum(nil)[:8])
}

// Start implements caddy.App.
func (a *AgentApp) Start() error {
	for _, b := range a.Backends {
		stop, err := local.Forward(b.Name, b.forward())
		if err != nil {
			return fmt.Errorf("%s: backend: %s: %w", agentDirective, b.Name, err)
		}
		a.stops = append(a.stops, stop)
	}
	var err error
	a.ref, err = agents.Take(a.key(), func() (*runningAgent, error) {
		a.config.Log.Info("starting the agent", zap.String("agent", a.Name), zap.Strings("edges", a.Edges))
		return &runningAgent{agent.Start(a.config, local), time.Duration(a.Drain)}, nil
	})
	return err
}

// Stop implements caddy.App. Cleanup does the rest, since the config that takes this
// one's place may need the same agent.
func (a *AgentApp) Stop() error { return nil }

// Cleanup disconnects, unless another config has the same agent.
func (a *AgentApp) Cleanup() error {
	var err error
	if a.ref != nil {
		err = a.ref.Release()
	}
	for _, stop := range a.stops {
		stop()
	}
	return err
}

// Interface guards
var (
	_ caddy.App          = (*AgentApp)(nil)
	_ caddy.Provisioner  = (*AgentApp)(nil)
	_ caddy.CleanerUpper = (*AgentApp)(nil)
)
