package edgewaf

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// records is JSON with five values in each of n records.
func records(n int, last string) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"id":%d,"at":"2025-03-04T05:06:%02dZ","state":%q,"paid":%t,"name":"Item %d"}`, 100_000+i, i%60, []string{"new", "sent", "done"}[i%3], i%2 == 0, i%40))
	}
	return `{"items":[` + strings.Join(list, ",") + last + `]}`
}

// TestJSONWithManyValues: a list of records passes with any number of values; whatever is in
// it is found wherever it is, and what nobody can look at is refused as before.
func TestJSONWithManyValues(t *testing.T) {
	const attack = `1' union select password from users-- -`
	for name, test := range map[string]struct {
		options, content string
		rule             string // "" passes
	}{
		"5000 values":                {"", records(1000, ""), ""},
		"an attack at the end":       {"", records(1000, `,{"name":"`+attack+`"}`), "942100"},
		"an attack beside numbers":   {"", records(1000, `,{"id":"`+attack+`"}`), "942100"},
		"an attack among dates":      {"", records(1000, `,{"at":"2025-03-04T05:06:07Z`+attack+`"}`), "942100"},
		"an attack in a name":        {"", records(1000, `,{"<script>alert(1)</script>":1}`), "941100"},
		"a number that rules know":   {"", records(1000, `,{"id":2147483648}`), "942220"},
		"many arrays":                {"", "[" + strings.Repeat(`["a","b"],`, 700) + "[]]", ""},
		"many different values":      {`, "crs": {"max_args": 50}`, manyDifferent(49), ""}, // and their number
		"too many different values":  {`, "crs": {"max_args": 50}`, manyDifferent(51), "77000001"},
		"an exception of all places": {`, "crs": {"exclude": [{"params": ["items.*.name"]}]}`, records(1000, `,{"name":"`+attack+`"}`), ""},
		"an exception of one place":  {`, "crs": {"exclude": [{"params": ["items.0.name"]}]}`, records(1000, ""), "77000001"},
		"a bound on all":             {`, "crs": {"max_args_total": 500000}`, records(1000, ""), "77000001"},
		"included files": {`, "crs": {"include": ["` + file(t, "own.conf", []byte("SecRule ARGS:json.items.0.id \"@gt 5\" \"id:1001,phase:2,pass\"\n")) + `"]}`,
			records(1000, ""), "77000001"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newWafRig(t, `"basic": "off", "budget": -1`+test.options)
			w := g.do(browse("POST", "/import", test.content, "Content-Type: application/json"))
			if test.rule == "" {
				require.Equal(t, http.StatusOK, w.Code, w.Body)
				require.Equal(t, test.content, g.got, "the origin gets it as it was")
				return
			}
			require.Equal(t, http.StatusForbidden, w.Code)
			var found []string
			for _, f := range g.state.latest(1, nil)[0].Findings {
				found = append(found, f.Rule)
			}
			require.Contains(t, found, test.rule)
		})
	}
	g := newWafRig(t, `"basic": "off"`)
	require.Equal(t, http.StatusOK, g.do(browse("POST", "/import?a=1&b=2", records(1000, ""), "Content-Type: application/json")).Code)
	require.Equal(t, http.StatusOK, g.do(browse("POST", "/import", records(1000, ""), "Content-Type: application/json")).Code, "within the default budget")
}

// TestImagesInValues: an image in a value passes, in the form in which scripts send one. What
// only says that it is one does not, nor what else is there.
func TestImagesInValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	picture := []byte("\x89PNG\r\n\x1a\n")
	for range 20000 {
		picture = append(picture, byte(r.Uint32()))
	}
	image := "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture)
	program := "data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n<?php system($_GET[0]);"))
	g := newWafRig(t, "")
	bounded := newWafRig(t, `"crs": {"max_arg_value": 1000}`)
	for _, test := range []struct {
		value string
		want  int
	}{{image, 200}, {program, 403}, {image + "' union select password from users-- -", 403}, {"data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", 403}} {
		for _, c := range [][2]string{
			{"application/json", `{"user":{"avatar":"` + test.value + `"}}`},
			{"text/plain", `{"user":{"avatar":"` + test.value + `"}}`},
			{"application/x-www-form-urlencoded", "name=x&avatar=" + url.QueryEscape(test.value)},
		} {
			w := g.do(browse("POST", "/profile", c[1], "Content-Type: "+c[0]))
			require.Equal(t, test.want, w.Code, "%s %.60s: %s", c[0], c[1], w.Body)
			if test.want == 200 {
				require.Equal(t, c[1], g.got)
			}
			require.Equal(t, http.StatusForbidden, bounded.do(browse("POST", "/profile", c[1], "Content-Type: "+c[0])).Code)
		}
	}
	both := `{"avatar":"` + image + `","q":"1' union select password from users-- -"}`
	require.Equal(t, http.StatusForbidden, g.do(browse("POST", "/profile", both, "Content-Type: application/json")).Code)
}

// manyDifferent is an array of so many texts.
func manyDifferent(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"Item %d"`, i))
	}
	return "[" + strings.Join(list, ",") + "]"
}
