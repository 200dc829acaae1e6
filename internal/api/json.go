package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// maxBody is the longest request body that ReadJSON accepts, in bytes.
const maxBody = 1 << 20

// WriteJSON answers with v as JSON. Nothing is written when v cannot be
// encoded; the error then says why.
func WriteJSON(w http.ResponseWriter, v any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encoding reply: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, err := w.Write(body.Bytes())
	return err
}

// ReadJSON decodes the body of r into v. The body must be one JSON value of at
// most 1 MiB whose fields are all known to v. Any fault of the client is a
// caddy.APIError: status 413 for too long a body, 400 for the rest.
func ReadJSON(r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if errors.Is(err, io.EOF) {
		err = errors.New("empty")
	} else if err == nil {
		err = trailing(dec)
	}
	if err == nil {
		return nil
	}
	status := http.StatusBadRequest
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	}
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf("reading request body: %w", inWords(err))}
}

// inWords says what is wrong with a value without the names of Go's types.
func inWords(err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	want := "another type"
	switch wrong.Type.Kind() {
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	case reflect.Slice, reflect.Array:
		want = "a list"
	case reflect.Struct, reflect.Map:
		want = "an object"
	case reflect.Int, reflect.Int64, reflect.Float64:
		want = "a number"
	default:
	}
	if wrong.Field == "" {
		return fmt.Errorf("got %s, want %s", wrong.Value, want)
	}
	return fmt.Errorf("%s: got %s, want %s", wrong.Field, wrong.Value, want)
}

// trailing fails when anything but space follows the decoded value.
func trailing(dec *json.Decoder) error {
	switch _, err := dec.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("more than one JSON value")
	default:
		return err
	}
}
