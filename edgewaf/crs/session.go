package crs

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
)

// Request is what the rules see of a request.
type Request struct {
	ID     string
	Method string
	URI    string // the request target as it was sent
	Proto  string // such as HTTP/1.1
	Host   string
	Header http.Header // Host need not be in it
	// Chunked: the content came in chunks, which servers in Go take out of the header.
	Chunked bool

	Client     netip.Addr
	ClientPort int
	Server     netip.Addr
	ServerPort int

	// Body is the content, decoded, as far as it is looked at.
	Body []byte
	// Processor says how to read content of a type that has no processor of its own.
	Processor Processor
}

// Processor is a way to read content.
type Processor string

// Ways to read content of no known type.
const (
	ProcessorNone Processor = ""     // not at all
	ProcessorText Processor = "TEXT" // as one argument: TextArgument
	ProcessorJSON Processor = "JSON"
	ProcessorXML  Processor = "XML"
)

// TextArgument is the name of the argument that text is looked at as.
const TextArgument = "text"

// Response is what the rules see of a response.
type Response struct {
	Status int
	Proto  string
	Header http.Header
	Body   []byte // decoded, as far as it is looked at
}

// Session is the evaluation of one request and its response. It is for one goroutine, and
// must be closed.
type Session struct {
	engine  *Engine
	tx      types.Transaction
	request *Request
	done    bool
}

// Begin starts the evaluation of a request, without the rules that were removed.
func (e *Engine) Begin(r *Request, removals []*Removal) *Session {
	s := &Session{engine: e, request: r, tx: e.waf.NewTransactionWithID(r.ID)}
	if len(removals) > 0 {
		apply(s.tx.(remover), r, removals)
	}
	return s
}

// Close ends the evaluation. A verdict stays valid.
func (s *Session) Close() error {
	if s.done {
		return nil
	}
	s.done = true
	if s.engine.logging {
		s.tx.ProcessLogging()
	}
	return s.tx.Close()
}

// Request evaluates the phases of the request, once.
func (s *Session) Request() Verdict {
	r, tx := s.request, s.tx
	tx.ProcessConnection(r.Client.String(), r.ClientPort, r.Server.String(), r.ServerPort)
	tx.ProcessURI(r.URI, r.Method, r.Proto)
	host := r.Host
	if host != "" || r.Proto != "HTTP/1.0" { // where alone it may be missing
		tx.AddRequestHeader("Host", host)
	}
	for name, values := range r.Header {
		if name == "Host" {
			continue
		}
		for _, value := range values {
			tx.AddRequestHeader(name, value)
		}
	}
	if r.Chunked {
		tx.AddRequestHeader("Transfer-Encoding", "chunked")
	}
	tx.SetServerName(hostname(host))
	if r.Processor != ProcessorNone {
		s.variables().Set(varProcessor, []string{string(r.Processor)})
	}
	if tx.ProcessRequestHeaders() != nil {
		return s.verdict()
	}
	if len(r.Body) > 0 && tx.IsRequestBodyAccessible() {
		// Its errors are of files that content goes to which is longer than the limit.
		if it, _, err := tx.WriteRequestBody(r.Body); it != nil || err != nil {
			return s.failed(err)
		}
		s.setLength(len(r.Body))
		if r.Processor == ProcessorText {
			// Hardly a rule looks at content that is one text; all look at arguments. As a
			// form it would have names with the signs that names must not have.
			tx.AddPostRequestArgument(TextArgument, string(r.Body))
		}
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return s.failed(err)
	}
	return s.verdict()
}

// Response evaluates the phases of the response, once and after those of the request.
func (s *Session) Response(r *Response) Verdict {
	tx := s.tx
	for name, values := range r.Header {
		for _, value := range values {
			tx.AddResponseHeader(name, value)
		}
	}
	if tx.ProcessResponseHeaders(r.Status, r.Proto) != nil {
		return s.verdict()
	}
	if len(r.Body) > 0 && tx.IsResponseBodyProcessable() {
		if it, _, err := tx.WriteResponseBody(r.Body); it != nil || err != nil {
			return s.failed(err)
		}
	}
	if _, err := tx.ProcessResponseBody(); err != nil {
		return s.failed(err)
	}
	return s.verdict()
}

// failed is the verdict when the engine could not do its work.
func (s *Session) failed(err error) Verdict {
	v := s.verdict()
	v.Err = err
	return v
}

func (s *Session) variables() collection.Map {
	return s.tx.(plugintypes.TransactionState).Variables().TX()
}

// setLength tells the rules that there is content, which the engine does for forms and text
// only. Content without a type would else pass the rule against it by being JSON.
func (s *Session) setLength(n int) {
	length := s.tx.(plugintypes.TransactionState).Variables().RequestBodyLength()
	if v, ok := length.(interface{ Set(value string) }); ok {
		v.Set(strconv.Itoa(n))
	}
}

// score returns a score that the rules have added up.
func (s *Session) score(name string) int {
	values := s.variables().Get(name)
	if len(values) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(values[0])
	return n
}

// hostname returns a host without its port.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return host
}
