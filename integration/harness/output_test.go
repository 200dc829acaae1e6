package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOutputSplitsLinesHoweverTheyArrive(t *testing.T) {
	out := newOutput()
	for _, piece := range []string{`{"msg":"o`, "ne\"}\nplain", " text\n", "\nunfinished"} {
		n, err := out.Write([]byte(piece))
		require.NoError(t, err)
		require.Equal(t, len(piece), n)
	}
	lines, _ := out.since(0)
	require.Equal(t, []string{`{"msg":"one"}`, "plain text", ""}, lines)
	rest, _ := out.since(2)
	require.Equal(t, []string{""}, rest)
	require.Equal(t, Entry{"msg": "one"}, parseEntry(lines[0]))
	require.Equal(t, Entry{"text": "plain text"}, parseEntry(lines[1]))
	require.Equal(t, Entry{"text": `{"cut":`}, parseEntry(`{"cut":`))
}

func TestAwait(t *testing.T) {
	isTwo := func(e Entry) bool { return e["text"] == "two" }
	open := make(chan struct{})
	ended := make(chan struct{})
	close(ended)

	t.Run("past line", func(t *testing.T) {
		out := newOutput()
		_, _ = out.Write([]byte("one\ntwo\n"))
		entry, found := out.await(isTwo, time.Minute, ended)
		require.True(t, found)
		require.Equal(t, Entry{"text": "two"}, entry)
	})
	t.Run("future line", func(t *testing.T) {
		out := newOutput()
		_, _ = out.Write([]byte("one\n"))
		go func() { _, _ = out.Write([]byte("two\n")) }()
		_, found := out.await(isTwo, time.Minute, open)
		require.True(t, found)
	})
	t.Run("process gone", func(t *testing.T) {
		_, found := newOutput().await(isTwo, time.Minute, ended)
		require.False(t, found)
	})
	t.Run("too late", func(t *testing.T) {
		_, found := newOutput().await(isTwo, time.Millisecond, open)
		require.False(t, found)
	})
}

func TestFindFault(t *testing.T) {
	tests := map[string]struct {
		text  string
		first string // of the lines reported; empty means no fault
	}{
		"race":              {"ok\n==================\nWARNING: DATA RACE\nWrite at 0x1", "WARNING: DATA RACE"},
		"panic":             {"ok\npanic: boom\n\ngoroutine 1 [running]:", "panic: boom"},
		"concurrent map":    {"fatal error: concurrent map writes", "fatal error: concurrent map writes"},
		"caught by server":  {`{"level":"error","msg":"http: panic serving 127.0.0.1:1: boom"}`, `{"level":"error"`},
		"nil dereference":   {`{"msg":"runtime error: invalid memory address"}`, `{"msg":"runtime error`},
		"clean":             {"{\"msg\":\"serving initial configuration\"}\nbye", ""},
		"word inside a URI": {`{"uri":"/panic: at the disco"}`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := findFault(strings.Split(tt.text, "\n"))
			if tt.first == "" {
				require.Empty(t, got)
				return
			}
			require.True(t, strings.HasPrefix(got, tt.first), got)
		})
	}
}

func FuzzOutput(f *testing.F) {
	f.Add("one\ntwo", uint8(3))
	f.Add("\n\n{\"a\":1}\n", uint8(1))
	f.Fuzz(func(t *testing.T, text string, step uint8) {
		out := newOutput()
		size := int(step) + 1
		for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
			_, _ = out.Write([]byte(rest[:min(size, len(rest))]))
		}
		lines, _ := out.since(0)
		want := strings.Split(text, "\n")
		require.Equal(t, want[:len(want)-1], append([]string{}, lines...))
		for _, line := range lines {
			require.NotNil(t, parseEntry(line))
		}
	})
}
