package edgewaf

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddyedge/caddy-edge/internal/reqinfo"
)

// refusals are the errors of the checks, for the error routes and the log.
var refusals = func() (all [checks]error) {
	for c := range all {
		all[c] = errors.New(checkTable[c].why)
	}
	return all
}()

// refuse answers a request that a check refused.
func (v *visit) refuse(c check) error {
	v.refused = c
	header := v.writer.Header()
	v.fields(header)
	if status := checkTable[c].status; v.byError() {
		v.describe(header, c)
		v.tidy()
		v.linger()
		return caddyhttp.Error(status, refusals[c])
	}
	v.writer.wrote = true
	v.write(v.writer.ResponseWriter, c)
	if v.close {
		_ = http.NewResponseController(v.writer.ResponseWriter).Flush()
		v.linger()
	}
	return nil
}

// byError reports whether the server's error routes write the response.
func (v *visit) byError() bool {
	respond := v.guard.Respond
	return respond == RespondError || respond == RespondAuto && reqinfo.HasErrorRoutes(v.r)
}

// describe sets the fields that a refusal has whoever writes it.
func (v *visit) describe(header http.Header, c check) {
	// Some of these statuses may be stored by caches that are told nothing (RFC 9110
	// section 15.1).
	header["Cache-Control"] = []string{"no-store"}
	if checkTable[c].status == http.StatusMethodNotAllowed {
		header["Allow"] = []string{v.guard.allow}
	}
}

// write writes a refusal.
func (v *visit) write(w http.ResponseWriter, c check) {
	v.refused = c
	header := w.Header()
	v.describe(header, c)
	// Neither needs escaping: the texts are ours, and the id has none of JSON's signs.
	body := `{"error":"` + checkTable[c].why + `","check":"` + c.String() + `"`
	if v.id != "" {
		body += `,"request_id":"` + v.id + `"`
	}
	body += "}"
	header["Content-Type"] = []string{"application/json"}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(checkTable[c].status)
	if v.r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body)) //nolint:gosec // it is JSON, and says so
	}
}
