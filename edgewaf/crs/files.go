package crs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
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
	read    map[string][]byte
	overlay map[string]string // content that is used instead, by name
	// root is in front of all names on the disk. The engine keeps lists of words by the
	// directory and name of their file, over all rule sets: with another root for each it
	// never takes the one of a file for that of what the file was before.
	root string
}

var roots atomic.Uint64

func newFiles() *files {
	return &files{read: make(map[string][]byte), root: fmt.Sprintf("/rule-set-%d", roots.Add(1))}
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
		if data, err = readFile(name); err != nil {
			return nil, err
		}
		f.read[name] = data
	}
	return includes.ReplaceAll(data, []byte("${1}"+f.root+"/")), nil
}

// includes are inclusions by absolute names, which would leave the root.
var includes = regexp.MustCompile(`(?im)^([ \t]*Include[ \t]+"?)/`)

// Glob implements fs.GlobFS.
func (f *files) Glob(pattern string) ([]string, error) {
	if embedded, ok := embeddedName(pattern); ok {
		return fs.Glob(coreruleset.FS, embedded)
	}
	names, err := filepath.Glob(f.name(pattern))
	for i, name := range names {
		if name, err = filepath.Abs(name); err != nil {
			return nil, err
		}
		names[i] = f.root + name
	}
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

// fingerprint is a hash of a text and of files, by name and content. A file that can't be
// read makes it another one.
func fingerprint(text string, names []string) string {
	h := sha256.New()
	part := func(s string) {
		fmt.Fprintf(h, "%d:", len(s))
		h.Write([]byte(s))
	}
	part(text)
	for _, name := range slices.Sorted(slices.Values(names)) {
		part(name)
		data, err := readFile(name)
		if err != nil {
			data = []byte("\x00")
		}
		part(string(data))
	}
	return hex.EncodeToString(h.Sum(nil))
}
