package crs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/types/variables"
	"github.com/stretchr/testify/require"
)

// wordpressRemovals are those of the preset for the editor, and those of all paths.
func wordpressRemovals(t testing.TB, e *Engine) (list []*Removal) {
	t.Helper()
	o := Options{Presets: []Preset{{Name: "wordpress"}}}
	always, conditional := o.Exclusions()
	for _, x := range append(always, conditional...) {
		if len(x.Paths) > 0 && !strings.HasPrefix(x.Paths[0], "/wp-admin") {
			continue
		}
		r, err := e.Removal(&x)
		require.NoError(t, err)
		list = append(list, r)
	}
	return list
}

// counter counts what the engine is told.
type counter struct{ calls int }

func (c *counter) RemoveRuleByID(int) { c.calls++ }

func (c *counter) RemoveRuleTargetByID(int, variables.RuleVariable, string, *regexp.Regexp) {
	c.calls++
}

// TestExclusionsCostLittle: a request without any of the names has the engine do nothing.
func TestExclusionsCostLittle(t *testing.T) {
	e := compiled(t, Options{})
	removals := wordpressRemovals(t, e)
	require.Len(t, removals, 2)
	calls := func(r *Request) int {
		var c counter
		apply(&c, r, removals)
		return c.calls
	}
	require.Zero(t, calls(get("/wp-admin/edit.php?page=2")))
	some := calls(get("/wp-admin/edit.php?CONT%45nt=2"))
	require.Positive(t, some)
	require.Less(t, some, 3*len(e.Rules()), "only rules that look at arguments")
	r := get("/wp-admin/")
	r.Header["Cookie"] = []string{"a=b; WordPress_x=y"}
	require.Positive(t, calls(r))
	r = get("/wp-admin/")
	r.Body = []byte(`{"content": 1}`)
	require.Positive(t, calls(r))
}

// TestExclusionsHold: whatever way a name is in a request.
func TestExclusionsHold(t *testing.T) {
	e := compiled(t, Options{})
	const attack = "1' union select password from users-- -"
	const encoded = "1%27+union+select+password+from+users--+-"
	for name, test := range map[string]struct {
		x Exclusion
		r func() *Request
	}{
		"query":      {Exclusion{Params: []string{"q"}}, func() *Request { return get("/?q=" + encoded) }},
		"case":       {Exclusion{Params: []string{"Name"}}, func() *Request { return get("/?nAME=" + encoded) }},
		"encoded":    {Exclusion{Params: []string{"user name"}}, func() *Request { return get("/?us%65r+name=" + encoded) }},
		"pattern":    {Exclusion{Params: []string{"a*z"}}, func() *Request { return get("/?a-b-z=" + encoded) }},
		"everything": {Exclusion{Params: []string{"*"}}, func() *Request { return get("/?q=" + encoded) }},
		"form": {Exclusion{Params: []string{"q"}}, func() *Request {
			r := get("/")
			r.Method, r.Body = "POST", []byte("a=b&%71="+encoded)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Content-Length", fmt.Sprint(len(r.Body)))
			return r
		}},
		"JSON": {Exclusion{Params: []string{"list.0.user.*"}}, func() *Request {
			r := get("/")
			r.Method, r.Body, r.Processor = "POST", []byte(`{"list": [{"user": {"x": "`+attack+`"}}]}`), ProcessorJSON
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Content-Length", fmt.Sprint(len(r.Body)))
			return r
		}},
		"cookie": {Exclusion{Cookies: []string{"Pref*"}}, func() *Request {
			r := get("/")
			r.Header["Cookie"] = []string{"a=b", "prefs=" + attack}
			return r
		}},
		"field": {Exclusion{Headers: []string{"user-agent"}}, func() *Request {
			r := get("/")
			r.Header["User-Agent"] = []string{"sqlmap/1.0"}
			return r
		}},
	} {
		s := e.Begin(test.r(), nil)
		require.True(t, s.Request().Blocked, name)
		require.NoError(t, s.Close())
		removal, err := e.Removal(&test.x)
		require.NoError(t, err)
		s = e.Begin(test.r(), []*Removal{removal})
		require.False(t, s.Request().Blocked, name)
		require.NoError(t, s.Close())
	}
}

func TestLooksOf(t *testing.T) {
	for raw, want := range map[string]collections{
		`SecRule REQUEST_COOKIES|!REQUEST_COOKIES:/__utm/|ARGS_NAMES|ARGS "@rx (?:a)" "id:1,msg:'REQUEST_HEADERS'"`: 8 | 1,
		`SecRule "ARGS_GET|REQUEST_HEADERS:User-Agent" "@rx a" "id:1"`:                                              2 | 16,
		`SecRule ARGS_NAMES|REQUEST_COOKIES_NAMES "@rx a" "id:1"`:                                                   0,
		`SecRule REQUEST_METHOD "@rx a" "id:1,chain"`:                                                               allCollections,
		`SecAction "id:1,pass"`: 0,
	} {
		require.Equal(t, want, looksOf(raw), raw)
	}
}

// TestUpdatedTargets: a rule that a file gives more to look at than its source says.
func TestUpdatedTargets(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.conf")
	require.NoError(t, os.WriteFile(name, []byte(`SecRule REQUEST_METHOD "@streq bad" "id:1001,phase:2,deny,status:403"
SecRuleUpdateTargetById 1001 "ARGS"
`), 0o600))
	e := compiled(t, Options{Off: true, Include: []string{name}})
	removal, err := e.Removal(&Exclusion{Params: []string{"q"}})
	require.NoError(t, err)
	for _, removals := range [][]*Removal{nil, {removal}} {
		s := e.Begin(get("/?q=bad"), removals)
		require.Equal(t, removals == nil, s.Request().Blocked)
		require.NoError(t, s.Close())
	}
}

// BenchmarkWordpress is requests to the editor, with the preset and without: a plain one, and
// one that has names of the preset.
func BenchmarkWordpress(b *testing.B) {
	e := compiled(b, Options{})
	removals := wordpressRemovals(b, e)
	for name, uri := range map[string]string{"plain": "/wp-admin/edit.php?page=2", "names": "/wp-admin/edit.php?content=2&description=3&url=4"} {
		for with, list := range map[string][]*Removal{"without": nil, "preset": removals} {
			b.Run(name+"/"+with, func(b *testing.B) {
				for b.Loop() {
					s := e.Begin(get(uri), list)
					s.Request()
					_ = s.Close()
				}
			})
		}
	}
}
