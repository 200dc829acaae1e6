package edgewaf

import (
	"fmt"
	"net/http"

	"github.com/caddyedge/caddy-edge/edgewaf/target"
)

// Mode is what a check does with a request that it finds fault with.
type Mode string

// The modes.
const (
	ModeEnforce Mode = "enforce" // refuse it, or put it right
	ModeShadow  Mode = "shadow"  // count and report it
	ModeOff     Mode = "off"     // look at nothing
)

// level is a mode in the order of what it does.
type level uint8

const (
	levelOff level = iota
	levelShadow
	levelEnforce
)

var levelModes = [...]Mode{ModeOff, ModeShadow, ModeEnforce}

// String returns the mode.
func (l level) String() string { return string(levelModes[l]) }

// parse returns the level of a mode; def stands for an empty one.
func (m Mode) parse(def level) (level, error) {
	if m == "" {
		return def, nil
	}
	for l, mode := range levelModes {
		if m == mode {
			return level(l), nil
		}
	}
	return 0, fmt.Errorf("unknown mode %q: want enforce, shadow or off", m)
}

// check is one thing that is looked at.
type check uint8

const (
	checkAccess check = iota
	checkConnect
	checkTargetForm
	checkMethod
	checkH2C
	checkFieldCount
	checkFieldSize
	checkURILength
	checkHost
	checkUnknownHost
	checkPathEncoding
	checkPathOverlong
	checkPathNUL
	checkPathControl
	checkPathBackslash
	checkPathTraversal
	checkPathDoubleEncoding
	checkPathParameter
	checkQueryNUL
	checkQueryEncoding
	checkBodySize
	checkNormalization
	checkConnection
	checkFraming

	checks        = iota
	noCheck check = checks
)

// checkTable says what there is to know of each check.
var checkTable = [checks]struct {
	id     string
	level  level // the default
	status int   // of a refusal
	why    string
	action action // when enforced
}{
	checkAccess:             {"access", levelEnforce, http.StatusForbidden, "access denied", actionRefused},
	checkConnect:            {"connect", levelEnforce, http.StatusMethodNotAllowed, "this is no proxy", actionRefused},
	checkTargetForm:         {"target_form", levelEnforce, http.StatusBadRequest, "invalid request target", actionRefused},
	checkMethod:             {"method", levelEnforce, http.StatusMethodNotAllowed, "method not allowed", actionRefused},
	checkH2C:                {"h2c", levelEnforce, http.StatusBadRequest, "upgrade to h2c is not possible", actionRefused},
	checkFieldCount:         {"field_count", levelEnforce, http.StatusRequestHeaderFieldsTooLarge, "too many header fields", actionRefused},
	checkFieldSize:          {"field_size", levelEnforce, http.StatusRequestHeaderFieldsTooLarge, "header fields too large", actionRefused},
	checkURILength:          {"uri_length", levelEnforce, http.StatusRequestURITooLong, "URI too long", actionRefused},
	checkHost:               {"host", levelEnforce, http.StatusBadRequest, "missing or invalid Host", actionRefused},
	checkUnknownHost:        {"unknown_host", levelEnforce, http.StatusMisdirectedRequest, "unknown host", actionRefused},
	checkPathEncoding:       {"path_encoding", levelEnforce, http.StatusBadRequest, "invalid escape in the path", actionRefused},
	checkPathOverlong:       {"path_overlong", levelEnforce, http.StatusBadRequest, "overlong UTF-8 in the path", actionRefused},
	checkPathNUL:            {"path_nul", levelEnforce, http.StatusBadRequest, "NUL in the path", actionRefused},
	checkPathControl:        {"path_control", levelEnforce, http.StatusBadRequest, "control character in the path", actionRefused},
	checkPathBackslash:      {"path_backslash", levelEnforce, http.StatusBadRequest, "backslash in the path", actionRefused},
	checkPathTraversal:      {"path_traversal", levelEnforce, http.StatusBadRequest, "path traversal", actionRefused},
	checkPathDoubleEncoding: {"path_double_encoding", levelEnforce, http.StatusBadRequest, "double encoding in the path", actionRefused},
	checkPathParameter:      {"path_parameter", levelShadow, http.StatusBadRequest, "parameter in the path", actionRefused},
	checkQueryNUL:           {"query_nul", levelEnforce, http.StatusBadRequest, "NUL in the query", actionRefused},
	checkQueryEncoding:      {"query_encoding", levelOff, http.StatusBadRequest, "invalid escape in the query", actionRefused},
	checkBodySize:           {"body_size", levelEnforce, http.StatusRequestEntityTooLarge, "body too large", actionRefused},
	checkNormalization:      {"normalization", levelEnforce, 0, "", actionRepaired},
	checkConnection:         {"connection", levelEnforce, 0, "", actionRepaired},
	checkFraming:            {"framing", levelEnforce, 0, "", actionClosed},
}

// String returns the id, which is the same in configurations, logs, metrics and replies.
func (c check) String() string { return checkTable[c].id }

// checkOf finds a check by its id.
func checkOf(id string) (check, error) {
	for c := range check(checks) {
		if c.String() == id {
			return c, nil
		}
	}
	return noCheck, fmt.Errorf("unknown check %q", id)
}

// targetChecks are the checks of each fault of a target.
var targetChecks = [...]struct {
	fault target.Fault
	check check
}{
	{target.Encoding, checkPathEncoding}, {target.Overlong, checkPathOverlong}, {target.NUL, checkPathNUL}, {target.Control, checkPathControl},
	{target.Backslash, checkPathBackslash}, {target.Traversal, checkPathTraversal}, {target.DoubleEncoding, checkPathDoubleEncoding},
	{target.Parameter, checkPathParameter}, {target.QueryNUL, checkQueryNUL}, {target.QueryEncoding, checkQueryEncoding},
}

// action is what was done about a request.
type action uint8

const (
	actionRefused  action = iota // it was refused
	actionShadow                 // nothing: the check is in shadow mode
	actionRepaired               // it was put right
	actionClosed                 // the connection was closed behind it

	actions = iota
)

var actionNames = [actions]string{"refused", "shadow", "repaired", "closed"}

// String returns the name for logs and metrics.
func (a action) String() string { return actionNames[a] }
