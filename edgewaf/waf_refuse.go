package edgewaf

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// errBlocked is the error of refusals, for the error routes and the log.
var errBlocked = errors.New("blocked by WAF")

// refuse answers a request that the rules block.
func (i *inspection) refuse() error {
	i.report(phaseRequest)
	reqinfo.From(i.r).Set(reqinfo.Refused, wafDirective)
	return i.answer(i.w, i.r.Method != http.MethodHead)
}

// answer writes a refusal, or returns it as an error for those who write it.
func (i *inspection) answer(w http.ResponseWriter, body bool) error {
	header := w.Header()
	header["Cache-Control"] = []string{"no-store"}
	if i.f.Respond == RespondError || i.f.Respond == RespondAuto && reqinfo.HasErrorRoutes(i.r) {
		return caddyhttp.Error(i.event.Status, errBlocked)
	}
	// None of them has a sign that JSON would want escaped.
	text := `{"error":"blocked by WAF","rule_id":"` + i.event.Rule + `"`
	if i.id != "" {
		text += `,"request_id":"` + i.id + `"`
	}
	text += "}"
	header["Content-Type"] = []string{"application/json"}
	header["Content-Length"] = []string{strconv.Itoa(len(text))}
	w.WriteHeader(i.event.Status)
	if body {
		_, _ = w.Write([]byte(text)) //nolint:gosec // it is JSON, and says so
	}
	return nil
}
