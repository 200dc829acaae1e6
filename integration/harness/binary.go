package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// commandLimit ends a command of the binary that does not return.
const commandLimit = 60 * time.Second

// binary is the file under test, built at most once per test process.
var binary = struct {
	once sync.Once
	dir  string
	path string
	err  error
}{}

// Main runs the tests of a package and removes the binary that they built. Its
// result is the exit code for os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	if binary.dir != "" {
		if err := os.RemoveAll(binary.dir); err != nil {
			fmt.Fprintln(os.Stderr, "removing the binary under test:", err)
			return 1
		}
	}
	return code
}

// Binary builds cmd/caddy, with the race detector if the tests are built with it, once
// per test process, and returns the path. The package's TestMain must call Main, which removes it.
func Binary(t testing.TB) string {
	t.Helper()
	binary.once.Do(build)
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

func build() {
	root, err := moduleRoot()
	if err != nil {
		binary.err = err
		return
	}
	if binary.dir, err = os.MkdirTemp("", "caddy-edge-test-"); err != nil {
		binary.err = fmt.Errorf("making a directory for the binary: %w", err)
		return
	}
	binary.path = filepath.Join(binary.dir, "caddy")
	args := slices.Concat([]string{"build"}, raceFlags, []string{"-tags", "nobadger,nomysql,nopgx", "-o", binary.path, "./cmd/caddy"})
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		binary.err = fmt.Errorf("building the binary under test: %w\n%s", err, out)
	}
}

// moduleRoot returns the directory of the go.mod that the test belongs to.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("locating go.mod: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("locating go.mod: not inside a module")
	}
	return filepath.Dir(mod), nil
}

// CommandResult is what a command of the binary left behind.
type CommandResult struct {
	// Stdout and Stderr are the whole output.
	Stdout, Stderr string
	// ExitCode is the status of the process.
	ExitCode int
}

// Run executes the binary with arguments, such as "validate", "--config", file,
// and returns its output. It uses storage of its own, and fails the test only
// when the binary cannot be started or does not return within a minute.
func Run(t testing.TB, args ...string) CommandResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.Env = environment(t.TempDir(), "")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("running %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return CommandResult{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: cmd.ProcessState.ExitCode()}
}

// environment returns the variables of a child process that keeps its data under
// dir and, unless it is empty, has its admin endpoint on the given address.
func environment(dir, admin string) []string {
	env := append(os.Environ(),
		"XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir,
		// The race detector waits a second at each exit unless it is told not to.
		"GORACE=atexit_sleep_ms=10",
	)
	if admin != "" {
		env = append(env, "CADDY_ADMIN="+admin)
	}
	return env
}
