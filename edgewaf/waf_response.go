package edgewaf

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/edgewaf/audit"
	"github.com/caddyedge/caddy-edge/edgewaf/content"
	"github.com/caddyedge/caddy-edge/edgewaf/crs"
	"github.com/caddyedge/caddy-edge/edgewaf/rules"
)

// ResponseOptions say which responses are looked at. Their content is held back until it
// is there, or until the limit; that of all others is handed on as it comes.
type ResponseOptions struct {
	// Types are media types. Default: DefaultResponseTypes.
	Types []string `json:"types,omitempty"`
	// Limit is how many bytes of content are looked at. Default: 524288.
	Limit int64 `json:"limit,omitempty"`
	// OnLimit says what is done with longer content: "pass" hands it on with its
	// beginning looked at, "reject" refuses it. Default: pass.
	OnLimit string `json:"on_limit,omitempty"`
}

// serve hands the request on, and looks at the response where that is wanted.
func (i *inspection) serve(next caddyhttp.Handler) error {
	i.report(phaseRequest)
	if i.f.Response == nil {
		// What was looked at need not wait for a response that may take hours.
		i.end()
	}
	i.body = nil
	if i.f.responses == nil && !i.f.rules.packs.NeedsResponse() {
		return next.ServeHTTP(i.w, i.r)
	}
	i.native.Body = nil
	w := &wafWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: i.w}, i: i, before: maps.Clone(i.w.Header()),
	}
	err := next.ServeHTTP(w, i.r)
	return w.finish(err)
}

// errAnswered stands for a refusal that is written already.
var errAnswered = errors.New("the response was refused")

// wafWriter holds back a response until the rules have seen it.
type wafWriter struct {
	*caddyhttp.ResponseWriterWrapper
	i      *inspection
	before http.Header // as it was when the request was handed on

	status  int
	wrote   bool         // the handlers behind have begun the response
	holding bool         // what they write is held back
	held    bytes.Buffer // with the header not sent either
	refused error        // errAnswered, or the error by which it is refused
}

// WriteHeader implements http.ResponseWriter.
func (w *wafWriter) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.wrote {
		return
	}
	w.wrote, w.status = true, status
	if status != http.StatusSwitchingProtocols && w.wanted() {
		w.holding = true
		return
	}
	w.i.end() // what goes on for long need not keep what was looked at
	if status == http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.judge(nil, false, false) {
		w.ResponseWriter.WriteHeader(status)
	}
}

// wanted reports whether the content of the response is to be looked at.
func (w *wafWriter) wanted() bool {
	o := w.i.f.responses
	if o == nil || w.i.r.Method == http.MethodHead || w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		return false
	}
	t, _, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil || t == "text/event-stream" {
		return false
	}
	return slices.ContainsFunc(o.Types, func(wanted string) bool { return strings.EqualFold(wanted, t) })
}

// Write implements http.ResponseWriter.
func (w *wafWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.gone():
		// An error would have a proxy break the connection off, and with it the refusal.
		return len(p), nil
	case !w.holding:
		return w.ResponseWriter.Write(p)
	}
	room := int(w.i.f.responses.Limit) - w.held.Len()
	if len(p) <= room {
		return w.held.Write(p)
	}
	_, _ = w.held.Write(p[:room])
	if err := w.release(true); err != nil {
		return room, err
	}
	if w.gone() {
		return len(p), nil
	}
	n, err := w.ResponseWriter.Write(p[room:])
	return room + n, err
}

// gone reports whether the response was refused.
func (w *wafWriter) gone() bool { return w.refused != nil }

// ReadFrom implements io.ReaderFrom.
func (w *wafWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.wrote && !w.holding && !w.gone() {
		return w.ResponseWriterWrapper.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{w}, r)
}

// FlushError implements the flushing of http.ResponseController. What is held back stays.
func (w *wafWriter) FlushError() error {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if w.holding || w.gone() {
		return nil //nolint:nilerr // there is nothing to flush
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// release has the rules look at what was held back, and hands it on.
func (w *wafWriter) release(more bool) error {
	w.holding = false
	if !w.judge(w.held.Bytes(), more, true) {
		return nil
	}
	w.writeHeader()
	_, err := w.ResponseWriter.Write(w.held.Bytes()) //nolint:gosec // what the origin wrote
	w.held = bytes.Buffer{}
	return err
}

// judge has the rules look at the response. It returns false when it is refused.
func (w *wafWriter) judge(raw []byte, more, whole bool) bool {
	i := w.i
	told := i.event
	i.event = audit.Event{}
	request := i.decided
	i.decided = decided{}
	defer func() { // the request's count too
		i.would, i.allowed, i.found = i.would || request.would, i.allowed || request.allowed, i.found || request.found
	}()
	header := w.Header()
	response := rules.Response{Status: w.status, Header: header, Body: raw}
	if codings := content.Codings(header.Values("Content-Encoding")); len(codings) > 0 && len(raw) > 0 {
		// What can't be decoded is looked at as far as it could be. The rule set leaves
		// alone what says that it has a coding.
		response.Body, _, _ = content.Decode(codings, raw, more, i.f.responses.Limit)
		response.Header = header.Clone()
		response.Header.Del("Content-Encoding")
	}
	if more && i.f.responses.OnLimit == OnReject {
		i.fail("response-limit", http.StatusBadGateway, outcomeTooLong)
	}
	w.byPacks(&response)
	if whole && !i.blocked && i.f.Response != nil {
		w.byEngine(&crs.Response{Status: response.Status, Proto: i.r.Proto, Header: response.Header, Body: response.Body})
	}
	i.report(phaseResponse)
	if len(i.event.Findings) == 0 {
		i.event = told // the placeholders go on to tell of the request
	}
	if !i.blocked {
		return true
	}
	// Nothing of what the handlers behind have said is told, but what was there before.
	clear(header)
	maps.Copy(header, w.before)
	if w.refused = i.answer(w.ResponseWriter, i.r.Method != http.MethodHead); w.refused == nil {
		w.refused = errAnswered
		_ = http.NewResponseController(w.ResponseWriter).Flush() // the handlers behind may go on for long
	}
	return false
}

// writeHeader sends the header of a response that was held back. Trailers are among its
// fields by now.
func (w *wafWriter) writeHeader() {
	header := w.Header()
	trailers := make(http.Header)
	for _, line := range header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := header[name]; ok {
				trailers[name] = values
				delete(header, name)
			}
		}
	}
	w.ResponseWriter.WriteHeader(w.status)
	maps.Copy(header, trailers)
}

func (w *wafWriter) byPacks(response *rules.Response) {
	set := w.i.f.rules.packs
	if !set.NeedsResponse() {
		return
	}
	var matches []rules.Match
	set.Response(&w.i.native, response, func(m rules.Match) { matches = append(matches, m) })
	w.i.decide(matches)
}

func (w *wafWriter) byEngine(response *crs.Response) {
	i := w.i
	if i.session == nil {
		return
	}
	v := i.session.Response(response)
	v.Matches = slices.DeleteFunc(v.Matches, func(m crs.Match) bool { return m.Phase < 3 }) // were told of before
	if !v.Blocked || len(i.shadows) == 0 || i.level == levelShadow {
		i.verdict(v, false)
		return
	}
	i.verdict(v, true)
	again := i.f.engine.Value().Begin(i.seen, slices.Concat(i.off, i.shadows))
	defer again.Close()
	switch v := again.Request(); {
	case v.Err != nil:
		i.failed(v.Err)
	case !v.Blocked: // which the request was not, with those rules
		i.enforce(again.Response(response))
	}
}

// finish ends the response when the handlers behind have returned.
func (w *wafWriter) finish(err error) error {
	if w.holding {
		if e := w.release(false); e != nil {
			return e
		}
	}
	switch {
	case errors.Is(w.refused, errAnswered):
		return nil
	case w.refused != nil:
		return w.refused
	}
	return err
}

// Interface guards
var (
	_ http.ResponseWriter = (*wafWriter)(nil)
	_ io.ReaderFrom       = (*wafWriter)(nil)
)
