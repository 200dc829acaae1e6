package crs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// included is a rule set of one file.
func included(t *testing.T, o Options, text string) *Engine {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.conf")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	o.Include = []string{name}
	return compiled(t, o)
}

// evaluated is what a rule set makes of a request.
func evaluated(t *testing.T, e *Engine, r *Request) Verdict {
	t.Helper()
	s := e.Begin(r, nil)
	v := s.Request()
	require.NoError(t, s.Close())
	require.NoError(t, v.Err)
	return v
}

// TestReasonScored: a rule that is only reported is not the reason.
func TestReasonScored(t *testing.T) {
	e := included(t, Options{Off: true, Paranoia: 1}, `
SecRule ARGS:q "@streq x" "id:1002,phase:2,pass,log,severity:'CRITICAL',tag:'paranoia-level/2'"
SecRule ARGS:q "@streq x" "id:1001,phase:2,pass,log,severity:'WARNING',tag:'paranoia-level/1'"
SecRule ARGS:q "@streq x" "id:1003,phase:2,pass,log,severity:'CRITICAL',tag:'paranoia-level/1'"
SecRule ARGS:q "@streq x" "id:1004,phase:2,pass,log,severity:'CRITICAL',tag:'paranoia-level/1'"
SecRule ARGS:q "@streq y" "id:1005,phase:2,pass,log,severity:'CRITICAL',tag:'paranoia-level/2'"
`)
	v := evaluated(t, e, get("/?q=x"))
	require.Len(t, v.Matches, 4)
	require.Equal(t, 1003, v.Rule)
	require.Equal(t, 1005, evaluated(t, e, get("/?q=y")).Rule, "better than none")
}

func TestStatusOfRules(t *testing.T) {
	e := included(t, Options{}, `
SecRule ARGS:q "@streq none" "id:1001,phase:2,deny"
SecRule ARGS:q "@streq 429" "id:1002,phase:2,deny,status:429"
SecRule ARGS:q "@streq 403" "id:1003,phase:2,deny,status:403"
SecRule ARGS:q "@streq 200" "id:1004,phase:2,deny,status:200"
SecRule ARGS:q "@streq drop" "id:1005,phase:2,drop"
SecRule ARGS:q "@streq redirect" "id:1006,phase:2,redirect:http://example.com/,status:302"
`)
	for q, want := range map[string]int{"none": 0, "429": 429, "403": 403, "200": 0, "drop": 0, "redirect": 0, "1'+union+select+password+from+users--+-": 0} {
		v := evaluated(t, e, get("/?q="+q))
		require.True(t, v.Blocked, q)
		require.Equal(t, want, v.Status, q)
	}
}

// TestVariableOfChains: the argument is told, not what the rules made of it.
func TestVariableOfChains(t *testing.T) {
	e := included(t, Options{Off: true}, `
SecRule ARGS:password "@rx ^(.)(.*)$" "id:1001,phase:2,pass,log,capture,chain"
	SecRule TX:2 "@streq unter2" "t:none,chain"
	SecRule MATCHED_VARS "@rx ." "t:none"
SecRule REQUEST_METHOD "@streq GET" "id:1002,phase:2,pass,log,chain"
	SecRule REQUEST_HEADERS:X-Odd "@rx ." "t:none"
SecRule REQUEST_METHOD "@streq GET" "id:1003,phase:2,pass,log,setvar:tx.a=b,chain"
	SecRule TX:a "@streq b" "t:none"
`)
	r := get("/?password=hunter2")
	r.Header.Set("X-Odd", "y")
	v := evaluated(t, e, r)
	require.Len(t, v.Matches, 3)
	for i, want := range []struct{ variable, key, value string }{
		{"ARGS", "password", "hunter2"}, {"REQUEST_HEADERS", "X-Odd", "y"}, {"REQUEST_METHOD", "", "GET"},
	} {
		m := v.Matches[i]
		require.Equal(t, want, struct{ variable, key, value string }{m.Variable, m.Key, m.Value})
	}
}
