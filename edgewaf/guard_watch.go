package edgewaf

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddyedge/caddy-edge/edgewaf/access"
	"github.com/caddyedge/caddy-edge/internal/edgeapp"
	"github.com/caddyedge/caddy-edge/internal/poolref"
)

// watches holds the files of access lists, over every configuration.
var watches = poolref.New[*watch]()

// eventListFailed is emitted when a file has changed and can't be used.
const eventListFailed = "edge_guard_list_failed" // data: file, error

// The kinds of files.
const (
	kindList    = "list"
	kindASN     = "asn_database"
	kindCountry = "country_database"
)

// watch is a file that is looked at in intervals, on a goroutine of its own.
type watch struct {
	kind, path string
	every      time.Duration
	list       *access.File[*access.Set]      // of kindList
	database   *access.File[*access.Database] // of the others
	stop, done chan struct{}
}

// takeWatch returns a file, which is read now if it has changed. A file that can't be
// used is an error.
func takeWatch(kind, path string, every time.Duration) (*poolref.Ref[*watch], error) {
	ref, err := watches.Take(fmt.Sprintf("%s %s %s", kind, every, path), func() (*watch, error) {
		w := &watch{kind: kind, path: path, every: every, stop: make(chan struct{}), done: make(chan struct{})}
		if kind == kindList {
			w.list = access.NewFile(path, access.MaxListSize, access.ParseList)
		} else {
			w.database = access.NewFile(path, access.MaxDatabaseSize, access.ParseDatabase)
		}
		go w.run()
		return w, nil
	})
	if err != nil {
		return nil, err
	}
	_, err = ref.Value().refresh(time.Now())
	return ref, err
}

func (w *watch) run() {
	defer close(w.done)
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		select {
		case <-w.stop:
			return
		case now := <-ticker.C:
			w.look(now)
		}
	}
}

// look reads the file if it has changed, and tells of it. The file outlives the loggers
// of configurations.
func (w *watch) look(now time.Time) {
	changed, err := w.refresh(now)
	logger := caddy.Log().Named("http.handlers.edge_guard")
	switch {
	case !changed:
	case err != nil:
		logger.Error("a list can't be read: what was read before stays in force", zap.String("file", w.path), zap.Error(err))
		edgeapp.Emit(eventListFailed, map[string]any{"file": w.path, "error": err.Error()})
	default:
		logger.Info("read a list that has changed", zap.String("file", w.path), zap.Int("entries", w.entries()))
	}
}

func (w *watch) refresh(now time.Time) (bool, error) {
	if w.list != nil {
		return w.list.Refresh(now)
	}
	return w.database.Refresh(now)
}

func (w *watch) status() access.Status {
	if w.list != nil {
		return w.list.Status()
	}
	return w.database.Status()
}

// entries returns the size of the content in force.
func (w *watch) entries() int {
	if w.list != nil {
		set, _ := w.list.Get()
		return set.Len()
	}
	if db, ok := w.database.Get(); ok {
		return db.Nodes()
	}
	return 0
}

// bytes returns the memory that the content in force takes.
func (w *watch) bytes() int64 {
	if w.list != nil {
		set, _ := w.list.Get()
		return int64(set.Bytes())
	}
	return w.database.Status().Size
}

// Destruct implements caddy.Destructor. It returns when the goroutine has ended.
func (w *watch) Destruct() error {
	close(w.stop)
	<-w.done
	return nil
}

// watched returns the files in use, by path and kind.
func watched() []*watch {
	var all []*watch
	watches.Range(func(_ string, w *watch) bool {
		all = append(all, w)
		return true
	})
	slices.SortFunc(all, func(a, b *watch) int {
		return strings.Compare(a.path+"\x00"+a.kind+a.every.String(), b.path+"\x00"+b.kind+b.every.String())
	})
	return all
}

var _ caddy.Destructor = (*watch)(nil)
