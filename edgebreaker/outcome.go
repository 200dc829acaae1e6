package edgebreaker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddyedge/caddy-edge/edgebreaker/breaker"
)

// failure is why an attempt brought no whole response.
type failure uint8

const (
	failureNone      failure = iota // there was a response, or no connection was tried
	failureClient                   // the client left, or sent a broken, too large or slow body
	failureDial                     // no connection
	failureTLS                      // no TLS session
	failureTimeout                  // a deadline passed
	failureReset                    // the connection broke
	failureMalformed                // what came is no response
	failureOther                    // something else, such as a request that can't be sent

	failures = iota
)

var failureNames = [failures]string{"", "client", "dial", "tls", "timeout", "reset", "malformed", "other"}

// String returns the name for logs and metrics.
func (f failure) String() string { return failureNames[f] }

// outcome is what a failure says of the backend. That of others is not known: most
// are requests which the transport refuses to send.
func (f failure) outcome() breaker.Outcome {
	switch f {
	case failureDial, failureTLS, failureTimeout, failureReset, failureMalformed:
		return breaker.Failure
	case failureNone, failureClient, failureOther:
	}
	return breaker.Ignored
}

// slowClient is how long the server may have waited for the client, in all, until
// a failure is no news of the backend: it may well have given the client up.
const slowClient = time.Second

// clientFault reports whether the client left, or sent a body that can't be read.
func (rec *record) clientFault() bool {
	return rec.content != nil && rec.body.failed.Load() || clientLeft(rec.base) || rec.writer.failed
}

// slowUpload reports whether the body of the request kept the backend waiting.
func (rec *record) slowUpload() bool { return rec.content != nil && rec.body.waited() >= slowClient }

// uploaded reports whether the request was sent whole.
func (rec *record) uploaded() bool {
	if rec.content == nil {
		return true
	}
	_, ended := rec.body.ended()
	return ended
}

// abortedByClient reports whether the client is the reason that the body of the
// response broke off.
func (rec *record) abortedByClient() bool {
	return rec.clientFault() || rec.slowUpload() || rec.base.Err() != nil || rec.writer.blocked >= slowClient
}

// judge returns what a status says of the backend.
func (rec *record) judge(status int) breaker.Outcome {
	switch {
	case clientLeft(rec.base):
		return breaker.Ignored
	case rec.handler.failing.has(status):
		return breaker.Failure
	}
	result := rec.wrapper.Header()["Grpc-Status"] // without a body
	if !rec.writer.wrote {
		// The proxy tries again for what the header says, or routes handle it: only a
		// placeholder has it.
		result = nil
		if v, ok := rec.placeholder(proxyGRPCStatus).(string); ok {
			result = []string{v}
		}
	}
	return rec.judgeGRPC(result)
}

// trailers returns what the end of a response says, which for gRPC is in the
// trailers.
func (rec *record) trailers() breaker.Outcome {
	if rec.verdict != breaker.Success {
		return rec.verdict
	}
	header := rec.wrapper.Header()
	o := rec.judgeGRPC(header["Grpc-Status"])
	if o == breaker.Success {
		o = rec.judgeGRPC(header[http.TrailerPrefix+"Grpc-Status"])
	}
	if o == breaker.Failure && rec.slowUpload() {
		return breaker.Ignored
	}
	return o
}

// judgeGRPC returns what a result of gRPC says. That a deadline passed is no news
// when the client has set it.
func (rec *record) judgeGRPC(values []string) breaker.Outcome {
	if len(values) == 0 {
		return breaker.Success
	}
	code, err := strconv.Atoi(values[0])
	switch {
	case err != nil || code < 0 || code >= len(grpcNames) || rec.handler.grpc&(1<<code) == 0:
		return breaker.Success
	case code == grpcDeadlineExceeded && rec.clientDeadline:
		return breaker.Ignored
	}
	return breaker.Failure
}

// classify tells why a proxy failed, from the error that it returned. What it does
// not know is failureOther, since a client must not be able to bring about a failure
// of the backend by what the transport does not like about the request.
func classify(err error) failure {
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		if he.StatusCode != http.StatusBadGateway && he.StatusCode != http.StatusGatewayTimeout {
			return failureNone // not about the connection
		}
		if he.Err != nil {
			err = he.Err
		}
	}
	switch {
	case err == nil:
		return failureNone
	case ours(err):
		return failureOther
	case isType[reverseproxy.DialError](err):
		return failureDial
	case isTLS(err):
		return failureTLS
	case timedOut(err):
		return failureTimeout
	}
	if f, ok := told(err); ok {
		return f
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), isType[*net.OpError](err),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return failureReset
	}
	return failureOther
}

// signs tell errors apart that have no type, by how their texts begin: what follows
// may have been chosen by a client. Earlier ones win, wherever in a chain of errors
// they stand.
var signs = []struct {
	prefix  string
	failure failure
}{
	{"making dial info: ", failureNone}, // there was no connection attempt
	{"http: ContentLength=", failureOther},
	{"http: Request.ContentLength=", failureOther},

	{"tls: ", failureTLS},
	{"remote error: tls: ", failureTLS},
	{"local error: tls: ", failureTLS},
	{"CRYPTO_ERROR ", failureTLS},
	{"net/http: TLS handshake timeout", failureTLS},
	{"http2: unexpected ALPN protocol", failureTLS},
	{"http2: could not negotiate protocol mutually", failureTLS},

	{"malformed ", failureMalformed},
	{"net/http: server response headers exceeded", failureMalformed},
	{"http2: response header list larger", failureMalformed},
	{"http2: frame too large", failureMalformed},
	{"http2: failed reading the frame payload", failureMalformed},
	{"connection error: ", failureMalformed},
	{"H3_FRAME_UNEXPECTED (local)", failureMalformed},
	{"H3_MESSAGE_ERROR (local)", failureMalformed},
	{"fcgi: ", failureMalformed},

	{"net/http: HTTP/1.x transport connection broken: ", failureReset},
	{"net/http: Transport failed to read from server: ", failureReset},
	{"http: server closed idle connection", failureReset},
	{"http2: server sent GOAWAY", failureReset},
	{"http2: Transport received ", failureReset},          // a GOAWAY
	{"http2: Transport: cannot retry err ", failureReset}, // as above, or a refused stream
	{"http2: client conn", failureReset},
	{"H3_REQUEST_CANCELLED (local)", failureOther},
	{"H3_REQUEST_CANCELLED", failureReset},
	{"H3_REQUEST_REJECTED", failureReset},
	{"H3_INTERNAL_ERROR", failureReset},
}

// told returns what the texts in a chain of errors say, if anything.
func told(err error) (failure, bool) {
	for i := range signs {
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.HasPrefix(e.Error(), signs[i].prefix) {
				return signs[i].failure, true
			}
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if text, ok := strings.CutPrefix(e.Error(), "stream error: "); ok {
			return streamError(text), true
		}
	}
	return failureNone, false
}

// streamError judges the end of a stream of HTTP/2 by its number, code and cause.
// Peers have other codes for requests that they can't read.
func streamError(text string) failure {
	_, text, _ = strings.Cut(text, "; ")
	code, cause, _ := strings.Cut(text, "; ")
	if cause != "received from peer" {
		return failureMalformed
	}
	switch code {
	case "INTERNAL_ERROR", "REFUSED_STREAM", "CANCEL":
		return failureReset
	}
	return failureOther
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// ours reports whether this machine is short of something, which a flood of clients may
// bring about. Caddy's error of a dial hides its cause, but for the text's end.
func ours(err error) bool {
	for _, short := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, short) || isType[reverseproxy.DialError](err) && strings.HasSuffix(err.Error(), short.Error()) {
			return true
		}
	}
	return false
}

func isTLS(err error) bool {
	switch {
	case isType[tls.RecordHeaderError](err), isType[tls.AlertError](err), isType[*tls.CertificateVerificationError](err),
		isType[x509.UnknownAuthorityError](err), isType[x509.HostnameError](err), isType[x509.CertificateInvalidError](err):
		return true
	}
	f, _ := told(err)
	return f == failureTLS
}

// timedOut reports whether the time for something was over.
func timedOut(err error) bool {
	if err == nil {
		return false
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}
