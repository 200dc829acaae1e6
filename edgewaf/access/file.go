package access

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// File is what was read of a file, and is read again when that changes. It may be
// used from any goroutine.
type File[T any] struct {
	path  string
	most  int64
	parse func(content []byte) (T, error)
	// readFile is os.ReadFile but in tests.
	readFile func(name string) ([]byte, error)

	content atomic.Pointer[T]

	mu     sync.Mutex // guards what follows, and reading
	stamp  stamp
	status Status
}

// Status says what is known of a file.
type Status struct {
	// Loaded is when the content in force was read.
	Loaded time.Time
	// Size is how many bytes it had.
	Size int64
	// Err says why the file that is there now is not in force, or nil.
	Err error
}

// stamp tells versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
	// settled: the file was not written to shortly before it was read, so that a
	// later change of the same size has another time.
	settled bool
}

// settling is the least age of a file that is known by its time and size.
const settling = 2 * time.Second

// NewFile returns a file of at most so many bytes. Nothing is read yet.
func NewFile[T any](path string, most int64, parse func([]byte) (T, error)) *File[T] {
	return &File[T]{path: path, most: most, parse: parse, readFile: os.ReadFile}
}

// Path returns the name of the file.
func (f *File[T]) Path() string { return f.path }

// Get returns what was last read without an error, and whether there is any.
func (f *File[T]) Get() (content T, ok bool) {
	if p := f.content.Load(); p != nil {
		return *p, true
	}
	return content, false
}

// Status returns what is known of the file.
func (f *File[T]) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Refresh reads the file if it has changed since the last time. Changed says that
// something happened that was not known: there is new content, or another error.
// The error is why the file as it is now is not in force; what was read before then
// stays.
func (f *File[T]) Refresh(now time.Time) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.status.Err
	info, err := os.Stat(f.path)
	var s stamp
	if err == nil {
		s = stamp{info.ModTime(), info.Size(), now.Sub(info.ModTime()) >= settling}
		if f.stamp.settled && s.sameAs(f.stamp) {
			return false, f.status.Err
		}
	}
	var raw []byte
	if err == nil {
		raw, err = f.read(info)
	}
	if err != nil {
		// What kept it from being read may pass and leave the file as it is.
		f.stamp = stamp{}
	} else {
		changed = !s.sameAs(f.stamp)
		f.stamp = s
		var content T
		if content, err = f.parse(raw); err == nil {
			f.content.Store(&content)
			f.status.Loaded, f.status.Size = now, info.Size()
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", f.path, unwrapPath(err))
	}
	f.status.Err = err
	return changed || text(err) != text(before), err
}

// sameAs reports whether two stamps are of one version.
func (s stamp) sameAs(other stamp) bool {
	return s.size == other.size && s.modified.Equal(other.modified)
}

// read reads the file that was just looked at.
func (f *File[T]) read(info os.FileInfo) ([]byte, error) {
	if !info.Mode().IsRegular() {
		return nil, errors.New("is no regular file")
	}
	if info.Size() > f.most {
		return nil, fmt.Errorf("%d bytes are more than %d", info.Size(), f.most)
	}
	return f.readFile(f.path)
}

// unwrapPath takes the path off an error that gets it in front.
func unwrapPath(err error) error {
	if p, ok := err.(*os.PathError); ok { //nolint:errorlint // what os returns, nothing around it
		return p.Err
	}
	return err
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
