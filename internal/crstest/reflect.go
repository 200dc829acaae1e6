package crstest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
)

// Reflect is the origin that the tests expect: /reflect answers with the status, the
// fields and the content that the request asks for, all else with 200.
func Reflect(w http.ResponseWriter, r *http.Request) {
	content, _ := io.ReadAll(r.Body)
	if r.URL.Path != "/reflect" {
		w.Header().Set("Content-Type", "text/plain")
		return
	}
	var want struct {
		Status      int               `json:"status"`
		Headers     map[string]string `json:"headers"`
		Body        string            `json:"body"`
		EncodedBody string            `json:"encodedBody"`
	}
	if err := json.Unmarshal(content, &want); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body := []byte(want.Body)
	if want.EncodedBody != "" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(want.EncodedBody); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	for name, value := range want.Headers {
		w.Header().Set(name, value)
	}
	if want.Status != 0 {
		w.WriteHeader(want.Status)
	}
	_, _ = w.Write(body)
}
