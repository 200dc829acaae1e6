package edgewaf

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/internal/mmdbtest"
)

// parse adapts the arguments and block of the directive.
func parse(text string) (string, error) {
	h, err := parseGuard(httpcaddyfile.Helper{Dispenser: caddyfile.NewTestDispenser("edge_guard " + text), State: make(map[string]any)})
	if err != nil {
		return "", err
	}
	out, err := json.Marshal(h)
	return string(out), err
}

func TestCaddyfile(t *testing.T) {
	for _, test := range []struct{ text, json string }{
		{"", `{"name": "default"}`},
		{"{\nname api\nmode shadow\ncheck path_parameter query_encoding enforce\ncheck h2c off\n}",
			`{"name": "api", "mode": "shadow", "checks": {"path_parameter": "enforce", "query_encoding": "enforce", "h2c": "off"}}`},
		{"{\nallow 10.0.0.0/8 ::1\nallow 192.0.2.1\ndeny file /a /b\ndeny asn AS64500 64501\ndeny country de FR\nallow file /c\notherwise deny\nasn_database /x\ncountry_database /y\nrefresh 1m\n}",
			`{"name": "default", "allow": {"addresses": ["10.0.0.0/8", "::1", "192.0.2.1"], "files": ["/c"]},
			"deny": {"files": ["/a", "/b"], "asns": [64500, 64501], "countries": ["DE", "FR"]},
			"otherwise": "deny", "asn_database": "/x", "country_database": "/y", "refresh": 60000000000}`},
		{"{\nmethods GET PURGE\nmax_fields 50\nmax_field_size 8KiB\nmax_uri 2KiB\nmax_body 10MiB\nhosts a.example *.b.example\ndot_segments\nmerge_slashes\nend_to_end X-User\nchunked trusted\n}",
			`{"name": "default", "methods": ["GET", "PURGE"], "max_fields": 50, "max_field_size": 8192, "max_uri": 2048, "max_body": 10485760,
			"hosts": ["a.example", "*.b.example"], "dot_segments": true, "merge_slashes": true, "end_to_end": ["X-User"], "chunked": "trusted"}`},
		{"{\nrequest_id replace v7\nrequest_id_header X-Trace\nmask_client 16 32\nrespond direct\nnotice 10s\n}",
			`{"name": "default", "request_id": "replace", "request_id_version": 7, "request_id_header": "X-Trace", "mask_client": true,
			"mask_ipv4": 16, "mask_ipv6": 32, "respond": "direct", "notice": 10000000000}`},
		{"{\nrequest_id off\nmask_client\nsecurity_headers\n}", `{"name": "default", "request_id": "off", "mask_client": true, "security_headers": {}}`},
		{"{\nsecurity_headers override {\nframe_options SAMEORIGIN\nreferrer_policy no-referrer\npermissions_policy off\nserver mine\n}\n}",
			`{"name": "default", "security_headers": {"override": true, "frame_options": "SAMEORIGIN", "referrer_policy": "no-referrer", "permissions_policy": "off", "server": "mine"}}`},
	} {
		got, err := parse(test.text)
		require.NoError(t, err, test.text)
		require.JSONEq(t, test.json, got)
	}
}

func TestCaddyfileRefuses(t *testing.T) {
	for _, test := range []struct{ text, err string }{
		{"strict", `edge_guard: takes a matcher alone, got "strict"`},
		{"{\nnonsense\n}", `edge_guard: unknown option "nonsense"`},
		{"{\nmode on\n}", `edge_guard: mode: invalid value "on"`},
		{"{\nmode off\nmode off\n}", "edge_guard: mode: given more than once"},
		{"{\ncheck enforce\n}", "edge_guard: check: want ids and one of enforce, shadow, off"},
		{"{\ncheck h2c\n}", "edge_guard: check: want ids and one of enforce, shadow, off"},
		{"{\ncheck h3c off\n}", `edge_guard: check: unknown check "h3c"`},
		{"{\ncheck h2c off\ncheck h2c shadow\n}", "edge_guard: check: h2c: given more than once"},
		{"{\nallow\n}", "edge_guard: allow: needs at least one argument"},
		{"{\ndeny 10.0.0.0/33\n}", `edge_guard: deny: invalid address or CIDR "10.0.0.0/33"`},
		{"{\ndeny file\n}", "edge_guard: deny: file: needs at least one value"},
		{"{\ndeny file \"\"\n}", "edge_guard: deny: file: is empty"},
		{"{\ndeny asn x\n}", `edge_guard: deny: asn: invalid ASN "x"`},
		{"{\nallow country DEU\n}", `edge_guard: allow: country: invalid country "DEU"`},
		{"{\notherwise maybe\n}", `edge_guard: otherwise: invalid value "maybe"`},
		{"{\nrefresh 0s\n}", `edge_guard: refresh: invalid duration "0s"`},
		{"{\nmethods\n}", "edge_guard: methods: needs at least one argument"},
		{"{\nmax_fields 0\n}", `edge_guard: max_fields: invalid number "0"`},
		{"{\nmax_body 0\n}", `edge_guard: max_body: invalid size "0"`},
		{"{\nmax_uri x\n}", `edge_guard: max_uri: invalid size "x"`},
		{"{\ndot_segments on\n}", "edge_guard: dot_segments: takes no argument"},
		{"{\nchunked no\n}", `edge_guard: chunked: invalid value "no"`},
		{"{\nrequest_id make\n}", `edge_guard: request_id: invalid value "make"`},
		{"{\nrequest_id accept v5\n}", `edge_guard: request_id: invalid value "v5": want v4 or v7`},
		{"{\nrequest_id off v4\n}", `edge_guard: request_id: invalid value "v4"`},
		{"{\nmask_client 24\n}", "edge_guard: mask_client: wants bits of IPv4 and of IPv6"},
		{"{\nmask_client 33 48\n}", `edge_guard: mask_client: invalid number of bits "33": want 1 to 32`},
		{"{\nsecurity_headers all\n}", `edge_guard: security_headers: takes override alone, got "all"`},
		{"{\nsecurity_headers {\nframe_options ALLOW\n}\n}", `edge_guard: security_headers: frame_options: invalid value "ALLOW"`},
		{"{\nsecurity_headers {\nserver \"\"\n}\n}", "edge_guard: security_headers: server: is empty"},
		{"{\nsecurity_headers {\nhsts\n}\n}", `edge_guard: security_headers: unknown option "hsts"`},
		{"{\nrespond json\n}", `edge_guard: respond: invalid value "json"`},
	} {
		_, err := parse(test.text)
		require.ErrorContains(t, err, test.err, test.text)
	}
}

// FuzzCaddyfile wants what is parsed to be an error or a guard, and no panic.
func FuzzCaddyfile(f *testing.F) {
	f.Add("{\nallow file x\nsecurity_headers override {\nserver x\n}\n}")
	f.Add("{\ncheck h2c off\nrequest_id accept v7\nmask_client 1 2\n}")
	f.Fuzz(func(t *testing.T, text string) {
		if out, err := parse(text); err == nil {
			require.True(t, strings.HasPrefix(out, `{"name":`), out)
		}
	})
}

func TestConfigRefuses(t *testing.T) {
	bad := file(t, "bad.txt", []byte("192.0.2.1\nnonsense\n"))
	page := file(t, "page.mmdb", []byte("<html>"))
	missing := filepath.Join(t.TempDir(), "missing.txt")
	for _, test := range []struct{ options, err string }{
		{`"name": "a b"`, `edge_guard: name: invalid value "a b"`},
		{`"mode": "on"`, `edge_guard: mode: unknown mode "on"`},
		{`"checks": {"h3c": "off"}`, `edge_guard: check: unknown check "h3c"`},
		{`"checks": {"h2c": "on"}`, `edge_guard: check h2c: unknown mode "on"`},
		{`"checks": {"access": "shadow"}`, "edge_guard: check access: needs allow, deny or otherwise deny"},
		{`"checks": {"body_size": "shadow"}`, "edge_guard: check body_size: needs max_body"},
		{`"checks": {"unknown_host": "off"}`, "edge_guard: check unknown_host: needs hosts"},
		{`"methods": ["CONNECT"]`, "edge_guard: methods: CONNECT is never served"},
		{`"methods": ["get"]`, `edge_guard: methods: invalid method "get": methods are in upper case`},
		{`"methods": ["G T"]`, `edge_guard: methods: invalid method "G T"`},
		{`"methods": ["GET", "GET"]`, "edge_guard: methods: GET: given more than once"},
		{`"max_fields": -1`, "edge_guard: max_fields: invalid value -1"},
		{`"max_field_size": -1`, "edge_guard: max_field_size: invalid value -1"},
		{`"max_body": -1`, "edge_guard: max_body: invalid value -1"},
		{`"mask_ipv4": 33`, "edge_guard: mask_client: invalid number of bits 33 of IPv4"},
		{`"mask_ipv6": -1`, "edge_guard: mask_client: invalid number of bits -1 of IPv6"},
		{`"hosts": ["example.com:80"]`, `edge_guard: hosts: invalid value "example.com:80"`},
		{`"hosts": ["*"]`, `edge_guard: hosts: invalid value "*"`},
		{`"end_to_end": ["Upgrade"]`, `edge_guard: end_to_end: invalid field name "Upgrade"`},
		{`"end_to_end": ["a b"]`, `edge_guard: end_to_end: invalid field name "a b"`},
		{`"request_id_header": "Cookie"`, `edge_guard: request_id_header: invalid field name "Cookie"`},
		{`"request_id_header": "te"`, `edge_guard: request_id_header: invalid field name "Te"`},
		{`"request_id": "maybe"`, `edge_guard: request_id: unknown value "maybe"`},
		{`"request_id_version": 5`, "edge_guard: request_id_version: invalid value 5"},
		{`"chunked": "open"`, `edge_guard: chunked: unknown value "open"`},
		{`"respond": "html"`, `edge_guard: respond: unknown value "html"`},
		{`"notice": -1`, "edge_guard: notice: -1ns is negative"},
		{`"security_headers": {"frame_options": "ALLOW"}`, `edge_guard: security_headers: frame_options: unknown value "ALLOW"`},
		{`"security_headers": {"server": "a\nb"}`, `edge_guard: security_headers: server: invalid value "a\nb"`},
		{`"otherwise": "maybe"`, `edge_guard: otherwise: unknown value "maybe"`},
		{`"refresh": 1000`, "edge_guard: refresh: invalid value 1µs: must be at least 100ms"},
		{`"allow": {"addresses": ["192.0.2.1"]}`, "edge_guard: allow: does nothing where nobody is denied"},
		{`"deny": {"addresses": ["300.0.0.1"]}`, `edge_guard: deny: invalid address or CIDR "300.0.0.1"`},
		{`"deny": {"files": ["` + missing + `"]}`, "edge_guard: deny: file: " + missing + ": no such file or directory"},
		{`"deny": {"files": ["` + bad + `"]}`, "edge_guard: deny: file: " + bad + `: line 2: invalid address or CIDR "nonsense"`},
		{`"deny": {"asns": [64500]}`, "edge_guard: deny: asn: 64500: needs asn_database"},
		{`"deny": {"countries": ["DE"]}`, "edge_guard: deny: country: DE: needs country_database"},
		{`"country_database": "` + page + `"`, "edge_guard: country_database: " + page + ": reading the database"},
		{`"nonsense": 1`, `unknown field "nonsense"`},
	} {
		names++ // so that none is defined twice
		options := test.options
		if !strings.Contains(options, `"name"`) {
			options += fmt.Sprintf(`, "name": "refused-%d"`, names)
		}
		_, _, err := provision("{" + options + "}")
		require.ErrorContains(t, err, test.err, test.options)
	}
	require.Empty(t, watched(), "nothing is left of what was refused")
	country := file(t, "country.mmdb", mmdbtest.Build("Test", mmdbtest.Networks{"203.0.113.0/24": mmdbtest.Country("DE")}))
	_, _, err := provision(`{"deny": {"countries": ["1A"]}, "country_database": "` + country + `"}`)
	require.ErrorContains(t, err, `edge_guard: deny: country: invalid country "1A"`)
	require.Empty(t, watched())
}
