package redistest

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadReply(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		want []string
		err  string
	}{
		"simple":         {in: "+OK\r\n", want: []string{"OK"}},
		"number":         {in: ":-7\r\n", want: []string{"-7"}},
		"bulk":           {in: "$4\r\na\r\nb\r\n", want: []string{"a\r\nb"}},
		"absent":         {in: "$-1\r\n", want: []string{""}},
		"list":           {in: "*2\r\n$1\r\na\r\n:3\r\n", want: []string{"a", "3"}},
		"nested lists":   {in: "*2\r\n*1\r\n:1\r\n*2\r\n:2\r\n:3\r\n", want: []string{"1", "2", "3"}},
		"empty list":     {in: "*0\r\n"},
		"error":          {in: "-ERR no\r\n", err: `"ERR no"`},
		"empty line":     {in: "\r\n", err: "empty line"},
		"unknown":        {in: "?x\r\n", err: "unknown reply"},
		"cut list":       {in: "*2\r\n+a\r\n", err: "EOF"},
		"cut bulk":       {in: "$4\r\na", err: "EOF"},
		"longer bulk":    {in: "$1\r\nabc\r\n", err: "does not end"},
		"invalid length": {in: "*x\r\n", err: "invalid length"},
		"great length":   {in: "$9223372036854775807\r\n", err: "invalid length"},
		"deep lists":     {in: strings.Repeat("*1\r\n", 9), err: "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readReply(bufio.NewReader(strings.NewReader(tt.in)))
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// FuzzReadReply: what is returned was there, and no more is read than belongs to
// the reply.
func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "$3\r\nabc\r\n", "*2\r\n:1\r\n:2\r\n", "*-1\r\n", "$99999999999\r\n", "*1\r\n*1\r\n$-1\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := readReply(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			return
		}
		size := 0
		for _, s := range got {
			require.Contains(t, in, s)
			size += len(s)
		}
		require.LessOrEqual(t, size, len(in))
		next := bufio.NewReader(strings.NewReader(in + "+next\r\n"))
		_, err = readReply(next)
		require.NoError(t, err)
		rest, err := io.ReadAll(next)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(string(rest), "+next\r\n"), "%q is left", rest)
	})
}

// FuzzCommand: a command reads back as the list of its words.
func FuzzCommand(f *testing.F) {
	f.Add("GET", "a key\r\n")
	f.Add("", "$1")
	f.Fuzz(func(t *testing.T, first, second string) {
		in := string(appendCommand(nil, []string{first, second}))
		got, err := readReply(bufio.NewReader(strings.NewReader(in)))
		require.NoError(t, err)
		require.Equal(t, []string{first, second}, got)
	})
}
