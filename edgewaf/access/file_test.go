package access

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listFile is a list file whose times a test decides.
type listFile struct {
	*File[*Set]
	t   *testing.T
	now time.Time
}

func newListFile(t *testing.T, content string) *listFile {
	l := &listFile{NewFile(filepath.Join(t.TempDir(), "list.txt"), 1000, ParseList), t, time.Now()}
	l.write(content)
	return l
}

// write changes the file a minute later.
func (l *listFile) write(content string) {
	l.now = l.now.Add(time.Minute)
	require.NoError(l.t, os.WriteFile(l.Path(), []byte(content), 0o600))
	require.NoError(l.t, os.Chtimes(l.Path(), l.now, l.now))
}

// refresh looks at the file so much later than it was written.
func (l *listFile) refresh(later time.Duration) (bool, error) { return l.Refresh(l.now.Add(later)) }

func (l *listFile) requireLen(n int) {
	l.t.Helper()
	s, ok := l.Get()
	require.True(l.t, ok)
	require.Equal(l.t, n, s.Len())
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	l := newListFile(t, "192.0.2.1\n")
	_, ok := l.Get()
	require.False(t, ok)
	changed, err := l.refresh(time.Hour)
	require.NoError(t, err)
	require.True(t, changed)
	l.requireLen(1)
	require.Equal(t, l.now.Add(time.Hour), l.Status().Loaded)

	changed, err = l.refresh(2 * time.Hour)
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, l.now.Add(time.Hour), l.Status().Loaded, "it was not read again")

	l.write("192.0.2.1\n192.0.2.2\n")
	changed, err = l.refresh(time.Hour)
	require.NoError(t, err)
	require.True(t, changed)
	l.requireLen(2)
}

// TestFileThatWasJustWritten: a change in the same instant, of the same size, is seen.
func TestFileThatWasJustWritten(t *testing.T) {
	l := newListFile(t, "192.0.2.1 #")
	_, err := l.refresh(time.Millisecond)
	require.NoError(t, err)
	l.requireLen(1)
	require.NoError(t, os.WriteFile(l.Path(), []byte("#192.0.2.1 "), 0o600))
	require.NoError(t, os.Chtimes(l.Path(), l.now, l.now))
	_, err = l.refresh(settling)
	require.NoError(t, err)
	l.requireLen(0)
}

func TestBrokenFileLeavesWhatWasRead(t *testing.T) {
	l := newListFile(t, "192.0.2.1\n")
	_, err := l.refresh(time.Hour)
	require.NoError(t, err)
	for _, broken := range []struct {
		name string
		do   func()
		err  string
	}{
		{"malformed", func() { l.write("192.0.2.1\nnonsense\n") }, `list.txt: line 2: invalid address or CIDR "nonsense"`},
		{"empty", func() { l.write("") }, "list.txt: line 1: is empty"},
		{"too big", func() { l.write(string(make([]byte, 1001))) }, "list.txt: 1001 bytes are more than 1000"},
		{"gone", func() { require.NoError(t, os.Remove(l.Path())) }, "list.txt: no such file or directory"},
		{"a directory", func() { require.NoError(t, os.Mkdir(l.Path(), 0o700)) }, "list.txt: is no regular file"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			broken.do()
			changed, err := l.refresh(time.Hour)
			require.ErrorContains(t, err, broken.err)
			require.True(t, changed, "it is news")
			require.Equal(t, err, l.Status().Err)
			l.requireLen(1)
			changed, err = l.refresh(2 * time.Hour)
			require.ErrorContains(t, err, broken.err)
			require.False(t, changed, "it is none any more")
		})
	}
	require.NoError(t, os.Remove(l.Path()))
	l.write("192.0.2.1\n192.0.2.2\n")
	changed, err := l.refresh(time.Hour)
	require.NoError(t, err)
	require.True(t, changed)
	l.requireLen(2)
	require.NoError(t, l.Status().Err)
}

// TestFileThatCouldNotBeReadIsReadAgain: what fails once, such as a file that nobody may
// read yet, or too many that are open, is tried again though the file has not changed.
func TestFileThatCouldNotBeReadIsReadAgain(t *testing.T) {
	l := newListFile(t, "192.0.2.1\n")
	_, err := l.refresh(time.Hour)
	require.NoError(t, err)
	l.write("192.0.2.1\n192.0.2.2\n")
	l.readFile = func(name string) ([]byte, error) {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	for i := range 2 {
		changed, err := l.refresh(time.Hour)
		require.ErrorIs(t, err, syscall.EMFILE)
		require.ErrorContains(t, err, "list.txt: too many open files")
		require.Equal(t, i == 0, changed, "it is news once")
		l.requireLen(1)
	}
	l.readFile = os.ReadFile
	changed, err := l.refresh(time.Hour)
	require.NoError(t, err)
	require.True(t, changed)
	l.requireLen(2)
	require.NoError(t, l.Status().Err)
}
