package crs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// files is the file system that rules are read from: the embedded rule set by names that
// begin with "@", all else from the disk. It keeps what was read, so that a rule set is
// known by the content of everything that it was made of.
type files struct {
	read    map[string][]byte   // by name; what could not be read is in it as unreadable
	globs   map[string][]string // what patterns stood for
	overlay map[string]string   // content that is used instead, by name
	// root is in front of all names on the disk. The engine keeps lists of words by the
	// directory and name of their file, over all rule sets: with another root for each it
	// never takes the one of a file for that of what the file was before.
	root string
}

var roots atomic.Uint64

func newFiles() *files {
	return &files{read: make(map[string][]byte), globs: make(map[string][]string), root: fmt.Sprintf("/rule-set-%d", roots.Add(1))}
}

// name is the name of a file on the disk.
func (f *files) name(path string) string { return strings.TrimPrefix(path, f.root) }

// Open implements fs.FS.
func (f *files) Open(name string) (fs.File, error) {
	if embedded, ok := embeddedName(name); ok {
		return coreruleset.FS.Open(embedded)
	}
	return os.Open(f.name(name))
}

// ReadFile implements fs.ReadFileFS.
func (f *files) ReadFile(name string) ([]byte, error) {
	if embedded, ok := embeddedName(name); ok {
		return fs.ReadFile(coreruleset.FS, embedded)
	}
	name = f.name(name)
	data, ok := []byte(f.overlay[name]), f.overlay[name] != ""
	if !ok {
		var err error
		if data, err = f.load(name); err != nil {
			return nil, err
		}
	}
	data = absolute.ReplaceAll(data, []byte("${1}"+f.root+"/"))
	return relative.ReplaceAll(data, []byte("${1}"+escapeTemplate(f.root+filepath.Dir(name))+"/${2}")), nil
}

// unreadable is kept in place of a file that can't be read.
var unreadable = []byte("\x00")

// load reads a file once, so that what is compiled is what the rule set is known by.
func (f *files) load(name string) ([]byte, error) {
	if data, ok := f.read[name]; ok && !bytes.Equal(data, unreadable) {
		return data, nil
	}
	data, err := readFile(name)
	if err != nil {
		f.read[name] = unreadable
		return nil, err
	}
	f.read[name] = data
	return data, nil
}

var (
	// absolute are inclusions by absolute names, which would leave the root.
	absolute = regexp.MustCompile(`(?im)^([ \t]*Include[ \t]+"?)/`)
	// relative are inclusions by relative patterns. As opposed to names, the engine would
	// not look for these beside the file.
	relative = regexp.MustCompile(`(?im)^([ \t]*Include[ \t]+"?)([^/@"\s][^"\n]*\*)`)
)

// escapeTemplate keeps a name from being taken for a template.
func escapeTemplate(name string) string { return strings.ReplaceAll(name, "$", "$$") }

// Glob implements fs.GlobFS.
func (f *files) Glob(pattern string) ([]string, error) {
	if embedded, ok := embeddedName(pattern); ok {
		return fs.Glob(coreruleset.FS, embedded)
	}
	names, err := f.expand(f.name(pattern))
	if err != nil {
		return nil, err
	}
	list := make([]string, len(names))
	for i, name := range names {
		if name, err = filepath.Abs(name); err != nil {
			return nil, err
		}
		list[i] = f.root + name
	}
	return list, nil
}

// expand returns the names of the files on the disk that a pattern stands for.
func (f *files) expand(pattern string) ([]string, error) {
	names, err := filepath.Glob(pattern)
	f.globs[pattern] = names
	return names, err
}

// embeddedName returns the name of an embedded file, in whatever directory the engine
// believes it to be.
func embeddedName(name string) (string, bool) {
	for _, root := range []string{"@owasp_crs", "@coraza.conf-recommended", "@crs-setup.conf.example"} {
		if i := strings.Index(name, root); i >= 0 {
			return name[i:], true
		}
	}
	return "", false
}

// maxFile is the largest file of rules or data that is read: 32 MiB.
const maxFile = 32 << 20

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is no file", name)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: has %d bytes, more than %d", name, info.Size(), maxFile)
	}
	return os.ReadFile(name)
}

// expand returns the files that a name or pattern stands for. None is an error.
func expand(pattern string) ([]string, error) {
	if !strings.Contains(pattern, "*") {
		if _, err := os.Stat(pattern); err != nil {
			return nil, err
		}
		return []string{pattern}, nil
	}
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pattern, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no file has such a name", pattern)
	}
	return names, nil
}

// mentions reports whether a file of the disk has something in it.
func (f *files) mentions(what *regexp.Regexp) bool {
	for _, data := range f.read {
		if what.Match(data) {
			return true
		}
	}
	return false
}

// fingerprint is a hash of a text, of all files that were read, by name and content, and of
// what patterns stood for. A file that could not be read makes it another one.
func (f *files) fingerprint(text string) string {
	h := sha256.New()
	part := func(s string) {
		fmt.Fprintf(h, "%d:", len(s))
		h.Write([]byte(s))
	}
	part(text)
	for _, name := range slices.Sorted(maps.Keys(f.read)) {
		part(name)
		part(string(f.read[name]))
	}
	for _, pattern := range slices.Sorted(maps.Keys(f.globs)) {
		part(pattern)
		fmt.Fprintf(h, "%q", f.globs[pattern])
	}
	return hex.EncodeToString(h.Sum(nil))
}
