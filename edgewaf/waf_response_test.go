package edgewaf

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// leak is what a response must not have.
const leak = "<p>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near ''' at line 1</p>"

// answer is an origin that says something.
func answer(contentType string, parts ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Origin", "yes")
		for _, part := range parts {
			if _, err := io.WriteString(w, part); err != nil {
				return err
			}
			_ = http.NewResponseController(w).Flush()
		}
		return nil
	}
}

func TestResponseIsBlocked(t *testing.T) {
	g := newWafRig(t, `"response": {}`)
	g.origin = answer("text/html; charset=utf-8", "<html>", leak, "</html>")
	w := g.do(browse("GET", "/", ""))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"951`)
	require.NotContains(t, w.Body.String(), "SQL")
	require.Empty(t, w.Header().Get("X-Origin"), "nothing of what the origin said")
	e := g.state.latest(1, nil)[0]
	require.Equal(t, phaseResponse, e.Phase)
	require.Equal(t, actBlock, e.Action)
	require.EqualValues(t, 1, g.state.counts[outcomeBlocked].Load())
}

func TestResponsePassesAsItIs(t *testing.T) {
	g := newWafRig(t, `"response": {}`)
	g.origin = answer("text/html", "<html>", "fine", "</html>")
	w := g.do(browse("GET", "/", ""))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "<html>fine</html>", w.Body.String())
	require.Equal(t, "yes", w.Header().Get("X-Origin"))
	// Not looked at without the option.
	g = newWafRig(t, "")
	g.origin = answer("text/html", leak)
	require.Equal(t, leak, g.do(browse("GET", "/", "")).Body.String())
}

// TestPlaceholdersTellOfTheRequest: a response in which nothing is found takes nothing away
// of what was found in its request.
func TestPlaceholdersTellOfTheRequest(t *testing.T) {
	g := newWafRig(t, `"mode": "shadow", "response": {}, "basic": "off"`)
	g.origin = answer("text/html", "fine")
	require.Equal(t, http.StatusOK, g.do(browse("GET", bad, "")).Code)
	require.Equal(t, "942100 request", g.repl.ReplaceKnown("{http.edge_waf.rule_id} {http.edge_waf.phase}", ""))
	g.origin = answer("text/html", leak)
	require.Equal(t, http.StatusOK, g.do(browse("GET", "/", "")).Code)
	require.Equal(t, "response", g.repl.ReplaceKnown("{http.edge_waf.phase}", ""))
}

func TestCompressedResponse(t *testing.T) {
	g := newWafRig(t, `"response": {}`)
	g.origin = func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		_, err := w.Write(zipped(t, []byte(leak)))
		return err
	}
	require.Equal(t, http.StatusForbidden, g.do(browse("GET", "/", "")).Code)
}

// watcher tells what has gone out.
type watcher struct {
	*httptest.ResponseRecorder
	flushed []string
}

func (w *watcher) FlushError() error {
	w.flushed = append(w.flushed, w.Body.String())
	return nil
}

// TestOtherResponsesStream: what is not looked at is handed on at once.
func TestOtherResponsesStream(t *testing.T) {
	g := newWafRig(t, `"response": {}`)
	for _, contentType := range []string{"text/event-stream", "application/grpc", "video/mp4", ""} {
		g.origin = answer(contentType, "one ", "two ")
		w := &watcher{ResponseRecorder: httptest.NewRecorder()}
		g.serveTo(w, browse("GET", "/", ""))
		require.Equal(t, []string{"one ", "one two "}, w.flushed, contentType)
	}
	g.origin = answer("text/html", "one ", "two ")
	w := &watcher{ResponseRecorder: httptest.NewRecorder()}
	g.serveTo(w, browse("GET", "/", ""))
	require.Empty(t, w.flushed)
	require.Equal(t, "one two ", w.Body.String())
}

func TestLongResponse(t *testing.T) {
	long := strings.Repeat("word ", 1000)
	g := newWafRig(t, `"response": {"limit": 1000}`)
	for _, size := range []int{999, 1000, 1001, 5000} {
		g.origin = answer("text/html", long[:size])
		w := g.do(browse("GET", "/", ""))
		require.Equal(t, long[:size], w.Body.String())
		g.origin = func(w http.ResponseWriter, _ *http.Request) error { // by ReadFrom
			w.Header().Set("Content-Type", "text/html")
			_, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(long[:size])})
			return err
		}
		require.Equal(t, long[:size], g.do(browse("GET", "/", "")).Body.String())
	}
	// Its beginning is looked at, and nothing of it goes out when it is refused.
	g.origin = answer("text/html", leak, long)
	w := g.do(browse("GET", "/", ""))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.NotContains(t, w.Body.String(), "word")

	g = newWafRig(t, `"response": {"limit": 1000, "on_limit": "reject"}`)
	g.origin = answer("text/html", long)
	w = g.do(browse("GET", "/", ""))
	require.Equal(t, http.StatusBadGateway, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"response-limit"`)
}

// TestRefusedResponseIsWhole: who goes on writing does so in vain, without an error, which
// would have a proxy break the connection off.
func TestRefusedResponseIsWhole(t *testing.T) {
	for _, respond := range []string{"direct", "error"} {
		g := newWafRig(t, `"response": {"limit": 100}, "respond": "`+respond+`"`)
		g.origin = func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "text/html")
			for range 100 {
				if n, err := io.WriteString(w, leak); err != nil || n != len(leak) {
					panic(http.ErrAbortHandler)
				}
			}
			return nil
		}
		w := g.do(browse("GET", "/", ""))
		require.Equal(t, http.StatusForbidden, w.Code)
		require.NotContains(t, w.Body.String(), "SQL")
		require.Equal(t, respond == "direct", w.Header().Get("Content-Type") == "application/json")
	}
}

// TestHeldResponseWithTrailers: trailers are none of the fields of the header.
func TestHeldResponseWithTrailers(t *testing.T) {
	g := newWafRig(t, `"response": {}`)
	g.origin = func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Trailer", "X-Sum")
		_, err := io.WriteString(w, "page")
		w.Header().Set("X-Sum", "42")
		return err
	}
	result := g.do(browse("GET", "/", "")).Result()
	defer result.Body.Close()
	_, err := io.ReadAll(result.Body)
	require.NoError(t, err)
	require.Empty(t, result.Header.Get("X-Sum"))
	require.Equal(t, "42", result.Trailer.Get("X-Sum"))
}

// TestPhasesAreToldApart: what was found in a request does not make a finding in its
// response worse.
func TestPhasesAreToldApart(t *testing.T) {
	pack := file(t, "pack.yaml", []byte("mode: enforce\nrules:\n  - {id: seen, phase: response, match: {any: [{status: '200'}]}, action: {type: log}}\n"))
	g := newWafRig(t, `"mode": "shadow", "basic": "off", "packs": ["`+pack+`"]`)
	require.Equal(t, http.StatusOK, g.do(browse("GET", bad, "")).Code)
	events := g.state.latest(2, nil)
	require.Equal(t, []string{phaseResponse, actLog, "seen"}, []string{events[0].Phase, events[0].Action, events[0].Rule})
	require.Equal(t, []string{phaseRequest, actShadow}, []string{events[1].Phase, events[1].Action})
	require.EqualValues(t, 1, g.state.counts[outcomeShadow].Load())
}

func TestResponsesWithoutContent(t *testing.T) {
	g := newWafRig(t, `"response": {}`)
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		g.origin = func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			return nil
		}
		require.Equal(t, status, g.do(browse("GET", "/", "")).Code)
	}
	g.origin = answer("text/html")
	require.Equal(t, http.StatusOK, g.do(browse("HEAD", "/", "")).Code)
	g.origin = func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(http.StatusTeapot, errors.New("tea"))
	}
	require.Equal(t, http.StatusTeapot, g.do(browse("GET", "/", "")).Code)
}

// TestAbortedResponse: nothing of a response that the origin broke off goes out.
func TestAbortedResponse(t *testing.T) {
	g := newWafRig(t, `"response": {}`)
	g.origin = func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}
	w := httptest.NewRecorder()
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { g.serveTo(w, browse("GET", "/", "")) })
	require.Empty(t, w.Body.String())
}

func TestPackOfResponses(t *testing.T) {
	pack := file(t, "pack.yaml", []byte(`
mode: enforce
rules:
  - id: no-server-errors
    phase: response
    match:
      any:
        - status: "500"
    action: {type: block, status_code: 502}
  - id: no-keys
    phase: response
    match:
      any:
        - response_body_regex: "BEGIN PRIVATE KEY"
    action: {type: block}
`))
	g := newWafRig(t, `"basic": "off", "crs": {"off": true}, "packs": ["`+pack+`"]`)
	g.origin = func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusInternalServerError)
		return nil
	}
	w := g.do(browse("GET", "/", ""))
	require.Equal(t, http.StatusBadGateway, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"no-server-errors"`)
	g.origin = answer("text/plain", "-----BEGIN PRIVATE KEY-----")
	w = g.do(browse("GET", "/", ""))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"no-keys"`)
}

func TestShadowOfResponses(t *testing.T) {
	g := newWafRig(t, `"mode": "shadow", "response": {}`)
	g.origin = answer("text/html", leak)
	require.Equal(t, leak, g.do(browse("GET", "/", "")).Body.String())
	require.Equal(t, actShadow, g.state.latest(1, nil)[0].Action)

	g = newWafRig(t, `"response": {}, "rules": [{"action": "shadow", "tags": ["attack-disclosure"]}]`)
	g.origin = answer("text/html", leak)
	require.Equal(t, leak, g.do(browse("GET", "/", "")).Body.String())
	require.Equal(t, actShadow, g.state.latest(1, nil)[0].Action)
}

// TestStatusBesideShadow: rules in shadow mode do not take the status from one that acts.
func TestStatusBesideShadow(t *testing.T) {
	conf := file(t, "own.conf", []byte("SecRule RESPONSE_BODY \"@contains forbidden\" \"id:1001,phase:4,deny,status:451\"\n"))
	g := newWafRig(t, `"response": {}, "crs": {"include": ["`+conf+`"]}, "rules": [{"action": "shadow", "tags": ["attack-disclosure"]}]`)
	g.origin = answer("text/html", "<p>forbidden</p>")
	w := g.do(browse("GET", "/", ""))
	require.Equal(t, http.StatusUnavailableForLegalReasons, w.Code)
	require.Contains(t, w.Body.String(), `"rule_id":"1001"`)
}
