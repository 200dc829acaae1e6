package edgetunnel

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddyedge/caddy-edge/edgetunnel/hub"
	"github.com/caddyedge/caddy-edge/edgetunnel/mux"
	"github.com/caddyedge/caddy-edge/edgetunnel/wire"
)

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !asksForTunnel(r) {
		return next.ServeHTTP(w, r)
	}
	id, refused := h.admit(r)
	if refused != nil {
		h.refuse(w, r, id, refused)
		return nil
	}
	return h.accept(w, id)
}

// asksForTunnel reports whether a request asks for a session, of whatever version.
func asksForTunnel(r *http.Request) bool {
	if r.Header["Upgrade"] == nil || !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return false
	}
	name, _, _ := strings.Cut(r.Header.Get("Upgrade"), "/")
	ours, _, _ := strings.Cut(wire.Protocol, "/")
	return strings.EqualFold(name, ours)
}

// refusedAgent is why an agent is not let in.
type refusedAgent struct {
	reason string // of the metric
	status int
	text   string // for the agent
	wait   time.Duration
}

// Reasons why an agent is not let in.
const (
	reasonRequest     = "request"
	reasonToken       = "token"
	reasonVersion     = "version"
	reasonCertificate = "certificate"
	reasonBackend     = "backend"
	reasonRevoked     = "revoked"
	reasonHeld        = "held"
	reasonName        = "name"
	reasonLimit       = "limit"
)

var refusalReasons = []string{
	reasonRequest, reasonToken, reasonVersion, reasonCertificate, reasonBackend, reasonRevoked, reasonHeld, reasonName, reasonLimit,
}

// admit checks who asks. What it says to who has no valid token is always the same.
func (h *Handler) admit(r *http.Request) (id hub.Identity, refused *refusedAgent) {
	bad := func(reason string, status int, format string, args ...any) (hub.Identity, *refusedAgent) {
		return id, &refusedAgent{reason: reason, status: status, text: fmt.Sprintf(format, args...)}
	}
	token := h.authenticate(r)
	if token == nil {
		return bad(reasonToken, http.StatusUnauthorized, "the token is not valid")
	}
	id = hub.Identity{Token: token.ID, Hash: token.hash, Handler: h.Name, Allowed: token.Backends, Remote: r.RemoteAddr}
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return bad(reasonRequest, http.StatusBadRequest, "want a GET of HTTP/1.1 without a body")
	}
	version, err := wire.Negotiate(wire.Version, r.Header.Get(wire.HeaderVersion))
	if err != nil || !slices.Contains(r.Header["Upgrade"], wire.Protocol) {
		return bad(reasonVersion, http.StatusUpgradeRequired, "the edge speaks version %s of the protocol: %v", wire.Version, err)
	}
	id.Version = version.String()
	id.Name, id.Instance, id.Lane = r.Header.Get(wire.HeaderAgent), r.Header.Get(wire.HeaderInstance), r.Header.Get(wire.HeaderLane) != ""
	if err := errors.Join(wire.CheckName(id.Name), wire.CheckName(id.Instance)); err != nil {
		return bad(reasonRequest, http.StatusBadRequest, "the agent: %v", err)
	}
	id.Certificate = certificateOf(r)
	if !h.certified(id, token) {
		return bad(reasonCertificate, http.StatusForbidden, "the agent needs a client certificate with the right name")
	}
	if value := r.Header.Get(wire.HeaderBackends); value != "" {
		names, err := wire.ParseBackends(value)
		if err != nil {
			return bad(reasonRequest, http.StatusBadRequest, "backends: %v", err)
		}
		for _, name := range names {
			if !hub.Allows(token.Backends, name) {
				return bad(reasonBackend, http.StatusForbidden, "the token does not allow the backend %s", name)
			}
		}
	}
	return id, refusalOf(h.registry.Value().hub.Admit(id, h.MaxAgents))
}

// certified reports whether an agent has the certificate that it needs.
func (h *Handler) certified(id hub.Identity, token *Token) bool {
	demands := [][]string{token.Certificates}
	required := len(token.Certificates) > 0
	if h.ClientCertificate != nil {
		demands, required = append(demands, h.ClientCertificate.Names), true
	}
	if required && id.Certificate == nil {
		return false
	}
	for _, names := range demands {
		if len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(id.Certificate, name) }) {
			return false
		}
	}
	return true
}

// certificateOf returns the names in the certificate of a request, nil if there is none that
// Caddy has verified.
func certificateOf(r *http.Request) []string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	leaf := r.TLS.VerifiedChains[0][0]
	names := append(append([]string{}, leaf.DNSNames...), leaf.EmailAddresses...)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	return names
}

// refusalOf says what the hub found.
func refusalOf(err error) *refusedAgent {
	r := &refusedAgent{status: http.StatusConflict}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hub.ErrRevoked):
		r.reason, r.status = reasonRevoked, http.StatusForbidden
	case errors.Is(err, hub.ErrHeld):
		r.reason, r.status, r.wait = reasonHeld, http.StatusServiceUnavailable, 5*time.Second
	case errors.Is(err, hub.ErrFull), errors.Is(err, hub.ErrLanes):
		r.reason, r.status, r.wait = reasonLimit, http.StatusServiceUnavailable, 10*time.Second
	default:
		r.reason = reasonName
	}
	r.text = err.Error()
	return r
}

// authenticate returns the token that a request shows, nil if it is not valid. How long
// that takes does not depend on the secret.
func (h *Handler) authenticate(r *http.Request) *Token {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	id, secret, err := wire.CutToken(value)
	if err != nil || !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	token := h.token(id)
	if token == nil {
		var none wire.Hash
		none.Matches(secret)
		return nil
	}
	if !token.hash.Matches(secret) {
		return nil
	}
	return token
}

// refuse answers an agent that is not let in.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, id hub.Identity, why *refusedAgent) {
	collectors().refusals.WithLabelValues(why.reason).Inc()
	client := clientOf(r)
	log := h.logger.Warn
	if why.reason == reasonToken {
		w.Header().Set("WWW-Authenticate", "Bearer")
		if h.registry.Value().attempts.fail(client.Addr(), time.Now()) {
			why.status, why.wait, log = http.StatusTooManyRequests, time.Minute, h.logger.Debug
		}
	}
	log("an agent was refused", zap.String("reason", why.reason), zap.String("why", why.text), zap.String("client", client.Addr().String()),
		zap.String("agent", id.Name), zap.String("token", id.Token))
	if why.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(why.wait/time.Second)))
	}
	if why.status == http.StatusUpgradeRequired {
		w.Header().Set("Upgrade", wire.Protocol)
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set(wire.HeaderVersion, wire.Version.String())
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, why.text, why.status)
}

// clientOf is the address of the client, which trusted proxies may have told, with the
// port of the connection if that is the client's.
func clientOf(r *http.Request) netip.AddrPort {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr) // others have none
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	client, err := netip.ParseAddr(text)
	if err != nil || client == remote.Addr() {
		return remote
	}
	return netip.AddrPortFrom(client, 0)
}

// accept makes the connection a session. It lives on when the handler has returned, as
// it does when the config is replaced.
func (h *Handler) accept(w http.ResponseWriter, id hub.Identity) error {
	header := w.Header()
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", wire.Protocol)
	header.Set(wire.HeaderVersion, wire.Version.String())
	header.Set(wire.HeaderHeartbeat, strconv.FormatInt(time.Duration(h.Heartbeat).Milliseconds(), 10))
	w.WriteHeader(http.StatusSwitchingProtocols) // before the hijack, for the access log
	conn, rw, err := http.NewResponseController(innermost(w)).Hijack()
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("%s: taking the connection over: %w", directive, err))
	}
	mux.Tune(conn)
	connect := func(config mux.Config) *mux.Session { return session(conn, rw, config) }
	if _, err := h.registry.Value().hub.Attach(id, h.MaxAgents, connect, h.config(id.Lane)); err != nil {
		_ = conn.Close() // the agent sees why when it asks again
		collectors().refusals.WithLabelValues(refusalOf(err).reason).Inc()
		h.logger.Warn("an agent was refused", zap.String("why", err.Error()), zap.String("agent", id.Name), zap.String("token", id.Token))
	}
	return nil
}

// innermost returns the server's own writer. Those around it count what goes over a
// connection that was taken over, for a log that is written when the handler returns: not
// for one that lives on.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}

// session runs a session over a connection. The response went out with the hijack.
func session(conn net.Conn, rw *bufio.ReadWriter, config mux.Config) *mux.Session {
	_ = conn.SetDeadline(time.Time{}) // what breaks, the session finds out
	return mux.New(conn, rw.Reader, config)
}

// config is that of a session. Half of the memory is for the lanes.
func (h *Handler) config(lane bool) mux.Config {
	c := mux.Config{MaxStreams: h.MaxStreams, Memory: h.Memory / 2, Heartbeat: time.Duration(h.Heartbeat)}
	if lane {
		c.Memory = max(h.Memory/2/wire.MostLanes, 2*mux.DefaultWindow)
	}
	return c
}
