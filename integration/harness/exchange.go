package harness

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"
)

// Interim is an informational (1xx) response that a client saw.
type Interim struct {
	// Status is 103, for example.
	Status int
	// Header is that of the interim response alone.
	Header http.Header
}

// Response is a response whose body was read to its end.
type Response struct {
	// Status is the status code; Proto is such as "HTTP/2.0".
	Status int
	Proto  string
	// Header and Trailer are those of the final response.
	Header, Trailer http.Header
	// Body is the whole content, or what came of it before an error.
	Body []byte
	// Interim responses in order of arrival.
	Interim []Interim
	// HeaderAfter and Total are the times from the call to the header and to the
	// last byte.
	HeaderAfter, Total time.Duration
}

// NewRequest returns a request with header lines such as "Accept: text/html";
// a line "Host: name" sets the host. Empty body means none.
func NewRequest(method, url, body string, lines ...string) (*http.Request, error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, url, content)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	for _, line := range lines {
		name, value, found := strings.Cut(line, ":")
		if !found {
			return nil, fmt.Errorf("making a request: header line %q has no colon", line)
		}
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "Host") {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	return req, nil
}

// Send sends a request and reads the whole response. When only the body fails,
// the response holds what came of it beside the error. It may be called from any
// goroutine.
func Send(client *http.Client, req *http.Request) (*Response, error) {
	got := new(Response)
	trace := &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			got.Interim = append(got.Interim, Interim{Status: code, Header: http.Header(header).Clone()})
			return nil
		},
	}
	start := time.Now()
	resp, err := client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got.Status, got.Proto, got.Header = resp.StatusCode, resp.Proto, resp.Header
	got.HeaderAfter = time.Since(start)
	got.Body, err = io.ReadAll(resp.Body)
	got.Total = time.Since(start)
	got.Trailer = resp.Trailer
	if err != nil {
		return got, fmt.Errorf("reading the body after %d bytes: %w", len(got.Body), err)
	}
	return got, nil
}
