package content_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgewaf/content"
)

func TestOnce(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{`[{"a":1,"b":"x"},{"a":2,"b":"x"},{"a":3,"b":"y"}]`, `[{"a":1,"b":"x"},{},{"a":{},"b":"y"}]`},
		{`["x","y","x", "x" ]`, `["x","y",{},{}]`},
		{`{"a":"x","b":"x"}`, `{"a":"x","b":"x"}`},         // names differ
		{`[{"a":"x"},{"b":"x"}]`, `[{"a":"x"},{"b":"x"}]`}, // so that each name is seen
		{`[true,true,false,null,null]`, `[true,{},false,null,{}]`},
		{`[1, 2147483648, 2147483648, 1e309, 4]`, `[1,2147483648,{},1e309,{}]`},
		{`["1","-2.5",3]`, `["1",{},{}]`},
		{`["2024-01-02","2025-03-04T05:06:07Z","2024-01-02' or 1"]`, `["2024-01-02",{},"2024-01-02' or 1"]`},
		{`["6f1c0f8e-2b5a-4d3c-9e7f-000000000001","6f1c0f8e-2b5a-4d3c-9e7f-000000000002"]`, `["6f1c0f8e-2b5a-4d3c-9e7f-000000000001",{}]`},
		{`[{"t":[]},{"t":[]},{"t":["a"]},{"t":["a"]},{"t":{}}]`, `[{"t":[]},{},{"t":["a"]},{},{}]`},
		{`["a\"b","a\"b","\\","\\"]`, `["a\"b",{},"\\",{}]`},
		{"\"x\"", "\"x\""},
		{" 5 ", "5"},
	} {
		require.Equal(t, test.want, string(content.Once([]byte(test.in), 100)), test.in)
	}
}

// TestOnceGivesUp: what is no JSON, too deep or has too much in it stays as it is.
func TestOnceGivesUp(t *testing.T) {
	for _, text := range []string{"", "[1,", `["a","b","c","c"]`, strings.Repeat("[", 400) + strings.Repeat("]", 400)} {
		require.Equal(t, text, string(content.Once([]byte(text), 3)))
	}
	for most, want := range map[int]string{2: `[["a"],["a"]]`, 3: `[["a"],{}]`} {
		require.Equal(t, want, string(content.Once([]byte(`[["a"],["a"]]`), most)), "arrays count")
	}
}

// FuzzOnce wants JSON out of JSON, in which every value of the input stands under its name.
func FuzzOnce(f *testing.F) {
	f.Add(`[{"a":1,"b":["x",{}]},{"a":2,"b":["x","\"\\"]}]`)
	f.Fuzz(func(t *testing.T, text string) {
		out := content.Once([]byte(text), 1000)
		var before, after any
		if json.Unmarshal([]byte(text), &before) != nil {
			require.Equal(t, text, string(out))
			return
		}
		require.NoError(t, json.Unmarshal(out, &after), "%s", out)
		got, want := make(map[string]bool), make(map[string]bool)
		values("", after, got)
		values("", before, want)
		for value := range want {
			require.True(t, got[value] || strings.Contains(value, "\x00alike"), "%q of %s in %s", value, text, out)
		}
		for value := range got {
			require.True(t, want[value])
		}
	})
}

// values collects the strings and words of JSON with their names; numbers as alike.
func values(name string, value any, to map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			values(name+"\x00."+key, v, to)
		}
	case []any:
		for _, v := range value {
			values(name+"\x00[]", v, to)
		}
	case string:
		if strings.Trim(value, "0123456789.-+:TZ abcdefABCDEF") == "" {
			value = "\x00alike"
		}
		to[name+"\x00="+value] = true
	case float64:
		to[name+"\x00=\x00alike"] = true
	default:
		to[fmt.Sprint(name, "\x00=", value)] = true
	}
}
